// Does the work of an ApplyQueue, in two threads: one redoes committed stages, the other keeps what
// was applied (replica/STORE.md, "From a stage to the tree") and removes stages that are no longer
// needed.
//
// Start and the destructor are called by one thread. Takes the lock of the KeptCatalog, and holds
// none when it does. Borrows what it is given, which outlives it.
#pragma once

#include <thread>

#include "meta/base/result.h"
#include "replica/store/apply_queue.h"
#include "replica/store/content_finder.h"
#include "replica/store/kept_catalog.h"
#include "replica/store/volume_place.h"
#include "replica/store/volume_report.h"

namespace tandem::replica {

class Applier {
 public:
  Applier(const VolumePlace& place, VolumeReport& report, ApplyQueue& queue, KeptCatalog& catalog,
          ContentFinder& finder)
      : place_(place), report_(report), queue_(queue), catalog_(catalog), finder_(finder) {}
  // Stops the queue, waits for both threads, and keeps what was applied.
  ~Applier();
  Applier(const Applier&) = delete;
  Applier& operator=(const Applier&) = delete;

  void Start();

 private:
  void RunRedo();
  bool RedoOnce();
  // Returns whether there is so little room that what is applied is to be kept before the next
  // redo.
  bool MustKeepFirst();
  void RunSync();
  Status SyncOnce();
  // Returns the stages that are no longer needed.
  Result<ApplyQueue::Stages> KeepApplied();

  const VolumePlace& place_;
  VolumeReport& report_;
  ApplyQueue& queue_;
  KeptCatalog& catalog_;
  ContentFinder& finder_;  // is told what was written
  std::thread redo_thread_;
  std::thread sync_thread_;
};

}  // namespace tandem::replica
