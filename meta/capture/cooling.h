// Cooling: every few seconds the source is synced, and the marks that no operation has touched
// lately are replaced by exact dirty rows, or by nothing if all replicas have the changes already
// (meta/SCHEMA.md, "Sync and cooling").
//
// A thread of its own does that; any thread may do it as well, by EndWindow, but one at a time:
// window_mutex_ is held meanwhile, and any other may be taken below it. The other mutexes here are
// held for a few instructions, and nothing else is locked meanwhile.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <span>
#include <thread>
#include <vector>

#include "meta/base/ids.h"
#include "meta/base/mutex.h"
#include "meta/base/result.h"
#include "meta/capture/deferred_changes.h"
#include "meta/capture/epochs.h"
#include "meta/capture/marks.h"
#include "meta/capture/source_sync.h"
#include "meta/state/state_writer.h"

namespace tandem::meta {

class Cooling {
 public:
  // `recently_changed`: of an earlier run. `follows_names`: the database keeps places of objects,
  // and outdated ones are written in each window. All references must outlive this.
  Cooling(StateWriter& writer, Marks& marks, Epochs& epochs, SourceSync& sync,
          DeferredChanges& deferred, bool follows_names, std::vector<ObjectRef> recently_changed);
  ~Cooling();

  void Start();
  // Ends the thread.
  void Stop() EXCLUDES(stop_mutex_, window_mutex_);

  // Syncs the source, retries what is deferred, and cools what was not touched in the window that
  // ends (`all`: everything that is not pinned).
  Status EndWindow(bool all) EXCLUDES(window_mutex_);
  // An operation has written so much: while much is written, the end of a window is put off.
  void NoteWritten(uint64_t bytes) { written_ += bytes; }
  // A few of the objects that cooled last, newest last.
  std::vector<ObjectRef> recently_changed() EXCLUDES(recent_mutex_);

 private:
  void Run();
  Status CoolShard(size_t shard, bool all) REQUIRES(window_mutex_);
  // Takes from `hot`, which were hot when the window ended, those it has dealt with.
  Status CoolSome(bool all, std::span<const ObjectId>& hot);
  Status CoolInTransaction(StateDatabase& database, bool all, std::span<const ObjectId>& hot,
                           std::vector<Marks::Cooled>& cooled);
  DirtyObject DirtyRowsOf(const ObjectRef& object);
  std::vector<DirtyObject> RowsOfBorn(const DirtyObject& directory);
  void NoteRecentlyChanged(const ObjectRef& object) EXCLUDES(recent_mutex_);

  StateWriter& writer_;
  Marks& marks_;
  Epochs& epochs_;
  SourceSync& sync_;
  DeferredChanges& deferred_;
  const bool follows_names_;
  std::atomic<uint64_t> written_{0};  // bytes, since the thread looked

  Mutex window_mutex_;
  Mutex recent_mutex_;
  std::deque<ObjectRef> recently_changed_ GUARDED_BY(recent_mutex_);

  std::atomic<bool> stopping_{false};
  Mutex stop_mutex_;
  CondVar stop_;
  std::thread thread_;
};

}  // namespace tandem::meta
