// Answers FindContent, and keeps the index of chunks it needs for that up to date: a thread of low
// priority reads what was applied and notes its chunks (replica/known/KNOWN.md). The index is
// opened when it is first needed.
//
// Any thread, holding no lock. Borrows what it is given, which outlives it.
#pragma once

#include <array>
#include <atomic>
#include <deque>
#include <memory>
#include <optional>
#include <thread>
#include <unordered_map>
#include <vector>

#include "meta/base/log_limit.h"
#include "meta/base/mutex.h"
#include "meta/base/unique_fd.h"
#include "replica/known/chunk_index.h"
#include "replica/store/apply_queue.h"
#include "replica/store/kept_catalog.h"
#include "replica/store/tuning.h"
#include "replica/store/volume_place.h"
#include "replica/wire/messages.h"

namespace tandem::replica {

class ContentFinder {
 public:
  ContentFinder(const VolumePlace& place, ApplyQueue& queue, KeptCatalog& catalog)
      : place_(place), queue_(queue), catalog_(catalog) {}
  ~ContentFinder() { Stop(); }

  Reply Take(const FindContent& find) EXCLUDES(mutex_);
  // What a redo has written is to be noted. Returns at once.
  void NoteWritten(const std::vector<ContentPlace>& written) EXCLUDES(mutex_);
  // Ends the thread. To be called before the catalog goes.
  void Stop() EXCLUDES(mutex_);

 private:
  Reply Answer(const FindContent& find);
  // What one request has opened of an object: its file in the tree, and what was kept of it. Either
  // may be invalid.
  using Opened = std::array<UniqueFd, 2>;
  using OpenFiles = std::unordered_map<ObjectId, Opened>;

  void Run() EXCLUDES(mutex_);
  Status Index(const ContentPlace& written) EXCLUDES(mutex_);
  // Returns null if there is none: it cannot be opened or written, and is tried again in a while.
  std::shared_ptr<ChunkIndex> OpenIndex() EXCLUDES(index_mutex_);
  bool HasNoIndex() const { return CondVar::Clock::now() < no_index_until_.load(); }
  void GiveUpIndex(const Error& why) EXCLUDES(index_mutex_);
  void GiveUpLocked(const Error& why) REQUIRES(index_mutex_);
  // Returns an invalid descriptor if there is no such file.
  UniqueFd OpenObject(ObjectId object);
  // Returns null if there are too many already.
  const Opened* Open(OpenFiles& files, ObjectId object);
  Status FindChunks(const FindContent& find, OpenFiles& files, FoundContent& found);
  // Returns which file of the object has the chunk there, or null.
  Result<const UniqueFd*> FileWith(const ChunkIndex::Row& row, OpenFiles& files);
  Status DigestRanges(const FindContent& find, OpenFiles& files, FoundContent& found);
  Status NameFiles(const FindContent& find, FoundContent& found);

  const VolumePlace& place_;
  ApplyQueue& queue_;
  KeptCatalog& catalog_;
  std::atomic<bool> stopping_{false};
  std::atomic<bool> finding_{false};  // a request is being answered
  LogLimit failures_{kRefusalsLogged};

  Mutex index_mutex_;  // nothing else is locked while it is held
  std::shared_ptr<ChunkIndex> index_ GUARDED_BY(index_mutex_);
  std::atomic<CondVar::Clock::time_point> no_index_until_{CondVar::Clock::time_point()};

  Mutex mutex_;
  CondVar wake_;
  std::deque<ContentPlace> written_ GUARDED_BY(mutex_);
  bool running_ GUARDED_BY(mutex_) = false;
  std::thread thread_ GUARDED_BY(mutex_);
};

}  // namespace tandem::replica
