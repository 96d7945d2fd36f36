// The catalog of a volume, for one thread at a time, and how it gets to stable storage: never
// before the tree it describes. It may lose cuts on the way: SQLite undoes a whole transaction if
// it cannot write, and after a failed sync it is not known what is on the disk. Then their stages
// return to the ApplyQueue to be redone.
//
// Any thread, with a Lock. A redo holds it from beginning to end. With it held, the lock of the
// ApplyQueue is taken. Borrows what it is given, which outlives it.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "meta/base/mutex.h"
#include "meta/base/result.h"
#include "replica/apply/catalog.h"
#include "replica/store/apply_queue.h"
#include "replica/store/volume_place.h"
#include "replica/store/volume_policy.h"
#include "replica/store/volume_report.h"

namespace tandem::replica {

class KeptCatalog {
 public:
  class SCOPED_CAPABILITY Lock {
   public:
    explicit Lock(KeptCatalog& kept) ACQUIRE(kept.mutex_) : kept_(kept) {
      ++kept_.waiting_;
      kept_.mutex_.Lock();
      --kept_.waiting_;
    }
    ~Lock() RELEASE() { kept_.mutex_.Unlock(); }
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;

   private:
    KeptCatalog& kept_;
  };

  KeptCatalog(const VolumePlace& place, ApplyQueue& queue, VolumeReport& report)
      : place_(place), queue_(queue), report_(report) {}

  // Opens or creates replica.db, and reads the policy. A damaged catalog is set aside. To be called
  // before all else.
  Status Open() EXCLUDES(mutex_);
  // Returns whether a thread waits for the Lock. One that takes it again and again gives way then:
  // a mutex alone lets it in first.
  bool IsWanted() const { return waiting_ > 0; }
  Catalog& catalog() REQUIRES(mutex_) { return *catalog_; }
  const VolumePolicy& policy() REQUIRES(mutex_) { return policy_; }
  // Makes it the policy of every redo from now on, durably.
  Status SetPolicy(const VolumePolicy& policy) EXCLUDES(mutex_);

  // Tells the ApplyQueue if the catalog has lost cuts.
  Status ReturnLostCuts() REQUIRES(mutex_);
  // Returns the refusal of a request that reads, or commits, if the catalog is not where the tree
  // is. It may have been set back while the caller waited for the Lock.
  std::optional<Reply> RefuseUnlessCurrent() REQUIRES(mutex_);
  // Brings the tree to stable storage while redoes go on, which leaves little for Keep to do. If
  // that fails, all that was not kept is to be redone, since the next sync may succeed without
  // having written what this one has not.
  Status SyncTree() EXCLUDES(mutex_);
  // Brings the tree and the catalog to stable storage, in this order. If that fails, all that was
  // not kept is to be redone.
  Status Keep() REQUIRES(mutex_);
  // Puts objects that fall short into the VolumeReport. So do those of which something was withheld
  // that the account may have now, and those that a scrub has found damaged: the source sends them
  // again.
  Status ReportShortObjects() REQUIRES(mutex_);
  // Tells the account what the volume has, if the catalog says it.
  void ReportUsage() REQUIRES(mutex_);

 private:
  Status SetAside();
  // Fails from a sync that failed on until DiscardUnkept: Linux tells a descriptor only once of
  // what it could not write.
  Status Sync() EXCLUDES(sync_mutex_);
  // All that was not kept is to be redone. Returns `why`.
  tl::unexpected<Error> DiscardUnkept(Error why) REQUIRES(mutex_);
  Status ListDamaged(std::vector<ShortObject>& listed, uint64_t& count) REQUIRES(mutex_);

  const VolumePlace& place_;
  ApplyQueue& queue_;
  VolumeReport& report_;
  std::atomic<int> waiting_{0};
  Mutex mutex_;
  std::unique_ptr<Catalog> catalog_ GUARDED_BY(mutex_);
  VolumePolicy policy_ GUARDED_BY(mutex_);
  Mutex sync_mutex_;  // taken with mutex_ held, or without
  std::optional<Error> sync_failed_ GUARDED_BY(sync_mutex_);
};

}  // namespace tandem::replica
