// Takes change sets for a volume: Begin, Chunk and Commit. Checks everything that could keep a
// stage from being redone, makes it durable, and gives it to the ApplyQueue. What each request
// means if it is lost or repeated: replica/PROTOCOL.md.
//
// Any thread. Begin, Commit and Hello go one at a time, by this class's lock; with it held the
// locks of the KeptCatalog and the ApplyQueue are taken. Borrows what it is given, which outlives
// it.
#pragma once

#include <atomic>
#include <memory>
#include <optional>

#include "meta/base/mutex.h"
#include "replica/apply/stage.h"
#include "replica/store/apply_queue.h"
#include "replica/store/kept_catalog.h"
#include "replica/store/replica_reader.h"
#include "replica/store/stage_slot.h"
#include "replica/store/volume_place.h"
#include "replica/store/volume_report.h"
#include "replica/wire/messages.h"

namespace tandem::replica {

class StageTaker {
 public:
  // Waits for a Begin or a Commit under way, and keeps others out.
  class SCOPED_CAPABILITY Turn {
   public:
    explicit Turn(StageTaker& taker) ACQUIRE(taker.mutex_) : taker_(taker) { taker_.mutex_.Lock(); }
    ~Turn() RELEASE() { taker_.mutex_.Unlock(); }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

   private:
    StageTaker& taker_;
  };

  StageTaker(const VolumePlace& place, VolumeReport& report, ApplyQueue& queue,
             KeptCatalog& catalog, ReplicaReader& reader)
      : place_(place), report_(report), queue_(queue), catalog_(catalog), reader_(reader) {}

  // Refused if another session has been opened meanwhile: a Hello tells what is durable, and what
  // came before it must not change that afterwards.
  Reply Take(const Begin& begin, SessionId session) EXCLUDES(mutex_);
  Reply Take(const Commit& commit, SessionId session) EXCLUDES(mutex_);
  Reply Take(const Chunk& chunk) EXCLUDES(mutex_);
  Reply Take(const GetStaged& get) EXCLUDES(mutex_);
  bool HasStage() { return slot_.Open() != nullptr; }
  // Sets the open stage aside until a Begin goes on with it, or ends and removes it if none ever
  // would. Called within a Turn.
  void ParkStage() REQUIRES(mutex_);
  // At the start of a volume, before there is another thread: `stage` is parked.
  void Restore(std::shared_ptr<Stage> stage) EXCLUDES(mutex_);

 private:
  // Ends the stage that is open, if there is one, and removes it.
  void CloseStage() REQUIRES(mutex_);
  // Goes on with the open stage. Returns nullopt if it is not the one that is meant, or cannot be
  // gone on with.
  std::optional<Resumed> TryResume(const Begin& begin) REQUIRES(mutex_);
  Reply CheckAndCommit(const Commit& commit, const std::shared_ptr<Stage>& stage) REQUIRES(mutex_);
  // Called with a RedoPause held. Returns nullopt if nothing keeps the stage from being redone.
  // Sets `plan` to that of the stage.
  std::optional<Reply> CheckPlan(const Commit& commit, const std::shared_ptr<Stage>& stage,
                                 std::unique_ptr<Plan>& plan) REQUIRES(mutex_);
  // Commits on top of a cut that cannot be applied for lack of room: both are redone as one.
  // Returns nullopt if there is no such cut (any more).
  std::optional<Reply> CommitOnBlocked(const Commit& commit, const std::shared_ptr<Stage>& stage)
      REQUIRES(mutex_);
  // Promises what `plan` adds beyond `before` (null: nothing) to the account, or returns the
  // refusal of what its quota does not leave.
  std::optional<Reply> PromiseGrowth(const Plan& plan, const ApplyQueue::Stages& stages,
                                     const Plan* before, const ApplyQueue::Stages& blocked,
                                     Catalog& catalog) REQUIRES(mutex_);
  void WithdrawGrowth() REQUIRES(mutex_);
  // Makes the stage durable, and one of those to be redone.
  Reply Promise(const Commit& commit, const std::shared_ptr<Stage>& stage,
                std::unique_ptr<Plan> plan = nullptr) REQUIRES(mutex_);

  const VolumePlace& place_;
  VolumeReport& report_;
  ApplyQueue& queue_;
  KeptCatalog& catalog_;
  ReplicaReader& reader_;

  Mutex mutex_;
  StageSlot slot_;  // changes only with mutex_ held
  // What was promised for the commit under way.
  Growth growth_ GUARDED_BY(mutex_);
  // How the open stage was gone on with, if it was.
  std::optional<Resumed> resumed_ GUARDED_BY(mutex_);
  // Of the open stage: bytes of content, as sent.
  std::atomic<uint64_t> content_{0};
  std::atomic<uint64_t> records_{0};
  // The last Commit that was refused, and why. It may have taken so long to find that out that the
  // source has given up waiting: if the Commit is repeated, the reply is, too.
  struct RefusedCommit {
    Commit commit;
    Reply reply;
  };
  std::optional<RefusedCommit> refused_ GUARDED_BY(mutex_);
};

}  // namespace tandem::replica
