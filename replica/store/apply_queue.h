// The cuts of a volume on their way from durable to kept: which one is durable, which one is
// applied, the stages that are to be redone and those that are to be kept, and what blocks them.
// Does none of the work itself: the threads of the Applier take it from here.
//
//   Promise -> pending -> (redone) -> unsynced -> (tree and catalog synced) -> gone
//                 ^---- ReturnTo: the catalog has lost cuts ----'
//
// Any thread, except where a call says whose it is. Stages leave `pending` only with the lock of
// the KeptCatalog held. With its own lock held it takes those of WriteSession and VolumeReport,
// which it borrows; they outlive it.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "meta/base/log_limit.h"
#include "meta/base/mutex.h"
#include "meta/base/result.h"
#include "replica/apply/attributes_writer.h"
#include "replica/apply/catalog.h"
#include "replica/apply/plan.h"
#include "replica/apply/stage.h"
#include "replica/store/tuning.h"
#include "replica/store/volume_place.h"
#include "replica/store/volume_report.h"
#include "replica/store/write_session.h"
#include "replica/wire/messages.h"

namespace tandem::replica {

class ApplyQueue {
 public:
  using Stages = std::vector<std::shared_ptr<Stage>>;

  ApplyQueue(const VolumePlace& place, WriteSession& session, VolumeReport& report)
      : place_(place), session_(session), report_(report) {}

  // ---- Start: before there is another thread.
  struct Cuts {
    AppliedCut applied;  // the catalog's
    AppliedCut durable;
    bool empty = true;  // the catalog has no names
    Stages pending;
    Stages unsynced;
  };
  void Restore(Cuts cuts) EXCLUDES(mutex_);
  // Takes all stages that are pending from the queue.
  Stages TakePending() EXCLUDES(mutex_);
  // The tree is of no one moment: the position becomes `nowhere`, and the session ends.
  void LeaveEveryCut(const std::string& why, const AppliedCut& nowhere) EXCLUDES(mutex_);
  // Says that no redo has been interrupted: what stands in the tree is what the catalog says.
  void NoteTreeIsWhole() EXCLUDES(mutex_);

  // Wakes all waiting threads. No call waits from then on.
  void Stop() EXCLUDES(mutex_);
  const std::atomic<bool>& stopping() const { return stopping_; }
  // Sleeps for `time`, or until Stop() is called.
  void Sleep(CondVar::Clock::duration time) EXCLUDES(mutex_);

  // ---- Requests.
  Position PositionNow() EXCLUDES(mutex_);
  AppliedCut applied() EXCLUDES(mutex_);
  AppliedCut durable() EXCLUDES(mutex_);
  Stages pending() EXCLUDES(mutex_);
  // Opens a session, and returns the position it begins at. Requests of the one before that wait
  // are refused.
  Position OpenSession(const Hello& hello, const ConnectionRef& connection,
                       const std::string& peer = {}) EXCLUDES(mutex_);
  // Returns whether this session is the newest.
  bool IsSession(SessionId session) { return session == session_.id(); }
  // Returns whether no stage is left to be redone or kept.
  bool IsAtRest() EXCLUDES(mutex_);
  // Returns the refusal of a stage with another base than the durable cut.
  std::optional<Reply> RefuseUnlessDurable(const CutName& base) EXCLUDES(mutex_);
  // Returns the refusal of what needs the tree to be at one cut, while a stage is pending.
  std::optional<Reply> RefuseIfPending() EXCLUDES(mutex_);
  // Says that a cut is being applied, or what keeps it from being applied.
  Reply Busy() EXCLUDES(mutex_);
  // Returns whether a pending stage has found no room.
  bool IsBlockedForRoom() EXCLUDES(mutex_);
  // Adds a stage that has become durable, and returns the position then. Its base is the durable
  // cut. Called with a RedoPause held, or with the lock of the KeptCatalog.
  // `plan` is that of the stage alone, or null.
  Position Promise(std::shared_ptr<Stage> stage, const AppliedCut& cut,
                   std::unique_ptr<Plan> plan = nullptr) EXCLUDES(mutex_);
  // Waits until the cut is applied, applying is blocked, the session ends, or time is up.
  Reply WaitApplied(const replica::WaitApplied& wait, SessionId session) EXCLUDES(mutex_);

  // Waits up to a second until nothing is pending, and holds off redoes from then on, until
  // EndPause. Returns a refusal if something still is. For RedoPause.
  std::optional<Reply> BeginPause() EXCLUDES(mutex_);
  void EndPause() EXCLUDES(mutex_);

  // ---- The thread that redoes.
  // Waits until a stage is pending and redoes are not held off. Returns false after Stop().
  bool WaitForPending() EXCLUDES(mutex_);
  struct Work {
    Stages stages;               // to be redone as one; none: there is nothing to do
    std::unique_ptr<Plan> plan;  // made for one of them, or null
    AppliedCut base;             // where the catalog is
    bool cramped = false;        // the last redo found no room, or this one is to make some
    bool tree_is_whole = false;  // no redo has left something in the tree, which is at a cut
  };
  Work WorkNow() EXCLUDES(mutex_);
  void NoteRedoBegun() EXCLUDES(mutex_);
  // Takes what has come of the redo of `stages`, which are all that are pending: the cut the tree
  // is at, or an error. If that is no cut, and `stages` do not lead there, files were lost: the
  // session ends. Returns whether the redo succeeded.
  bool EndRedo(const Stages& stages, const Result<AppliedCut>& done, const Notices& notices)
      EXCLUDES(mutex_);

  // ---- The thread that keeps.
  // Waits until stages have been unsynced for about a second, or take much room. Returns false
  // after Stop().
  bool WaitForUnsynced() EXCLUDES(mutex_);
  Stages unsynced() EXCLUDES(mutex_);
  // Removes the first `count` of unsynced().
  void ForgetUnsynced(size_t count) EXCLUDES(mutex_);
  // Returns the size of the pending stages, or nullopt if none is pending or none unsynced.
  std::optional<uint64_t> BytesPendingBeforeKept() EXCLUDES(mutex_);

  // ---- The KeptCatalog, with its lock held.
  // The catalog is at `kept`: if that is not the applied cut, the unsynced stages from there on are
  // to be redone.
  void ReturnTo(const AppliedCut& kept) EXCLUDES(mutex_);
  // Applying is blocked from a failed sync until one succeeds.
  void NoteSyncFailed(const Error& why) EXCLUDES(mutex_);
  void NoteSynced() EXCLUDES(mutex_);

 private:
  Position PositionLocked() REQUIRES(mutex_);
  Reply BusyLocked() REQUIRES(mutex_);
  void LeaveEveryCutLocked(const std::string& why, const AppliedCut& nowhere) REQUIRES(mutex_);
  bool MustHurry() REQUIRES(mutex_);

  const VolumePlace& place_;
  LogLimit sessions_{kRefusalsLogged};  // a source may say Hello as often as it likes
  WriteSession& session_;
  VolumeReport& report_;

  Mutex mutex_;
  CondVar must_redo_;  // the thread that redoes
  CondVar must_keep_;  // the thread that keeps
  CondVar stopped_;    // both, after a failure
  CondVar changed_;    // requests
  AppliedCut durable_ GUARDED_BY(mutex_);
  AppliedCut applied_ GUARDED_BY(mutex_);
  bool empty_ GUARDED_BY(mutex_) = true;
  // To be redone, as one. They begin where the catalog is.
  Stages pending_ GUARDED_BY(mutex_);
  // Applied, but not yet known to be on stable storage. All up to the cut of the catalog.
  Stages unsynced_ GUARDED_BY(mutex_);
  std::unique_ptr<Plan> plan_ GUARDED_BY(mutex_);  // of the last stage of pending_, or null
  int pauses_ GUARDED_BY(mutex_) = 0;
  std::optional<Error> blocked_ GUARDED_BY(mutex_);
  // A redo has begun that did not end well: it may have left something in the tree.
  bool redo_unfinished_ GUARDED_BY(mutex_) = true;
  bool sync_failed_ GUARDED_BY(mutex_) = false;  // the last time; blocked_ says how
  std::atomic<bool> stopping_{false};
};

}  // namespace tandem::replica
