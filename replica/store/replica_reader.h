// Answers the requests that read a volume: List, Find, GetSignature, GetDigests; and turns deltas
// into bytes, which reads as well. Redoes are held off meanwhile (redo_pause.h).
//
// Any thread, holding no lock below that of the KeptCatalog. Borrows what it is given, which
// outlives it.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "meta/base/mutex.h"
#include "meta/base/unique_fd.h"
#include "replica/apply/tree.h"
#include "replica/store/apply_queue.h"
#include "replica/store/kept_catalog.h"
#include "replica/store/names_listed.h"
#include "replica/store/volume_place.h"
#include "replica/wire/messages.h"

namespace tandem::replica {

class RedoPause;

class ReplicaReader {
 public:
  ReplicaReader(const VolumePlace& place, ApplyQueue& queue, KeptCatalog& catalog)
      : place_(place), queue_(queue), catalog_(catalog) {}

  Reply Take(const GetSignature& get);
  Reply Take(const List& list);
  Reply Take(const Find& find);
  Reply Take(const GetDigests& get);

  // Replaces the deltas of a chunk by the bytes they stand for. Returns a refusal if they do not
  // fit what the replica has, or come to too much.
  std::optional<Reply> ResolveDeltas(std::vector<Record>& records);

 private:
  std::optional<Reply> ResolveDelta(DataRecord& record);
  // Returns the bytes that a record stands for, or kCorrupt if the basis does not fit.
  Result<std::string> Resolve(const DataRecord& record, int basis_fd);
  // Waits for the memory if others use it. Call it before redos are held off.
  std::unique_ptr<MemoryBudget::Share> MemoryFor(size_t bytes);
  // Called with a RedoPause held.
  Reply ListDisk(const List& list, std::optional<RedoPause>& pause);
  // Returns a Tree that may have open what requests before have opened, so that a directory deep
  // down is not reached from the root each time. It is a new one after each cut, and after a second
  // in any case, as other programs may move directories.
  Tree& TreeAt(const CutName& cut, Catalog& catalog) REQUIRES(tree_mutex_);
  // Called with a RedoPause held. Returns a refusal if there is no such file.
  std::optional<Reply> OpenForReading(ObjectId object, UniqueFd& fd);

  const VolumePlace& place_;
  ApplyQueue& queue_;
  KeptCatalog& catalog_;
  NamesListed names_listed_;
  Mutex tree_mutex_;  // after the lock of the KeptCatalog
  std::unique_ptr<Tree> tree_ GUARDED_BY(tree_mutex_);
  CutName tree_cut_ GUARDED_BY(tree_mutex_);
  const Catalog* tree_catalog_ GUARDED_BY(tree_mutex_) = nullptr;
  CondVar::Clock::time_point tree_until_ GUARDED_BY(tree_mutex_);
};

}  // namespace tandem::replica
