// One volume of a store: STORE/NAME. Takes the requests of the one source that may write it, keeps
// its stages, redoes them, and says where it stands. See replica/PROTOCOL.md for what each request
// means when it is lost or repeated, replica/STORE.md for what is on disk.
//
// Any thread may call Greet and Handle, and they may wait. A thread of the volume redoes committed
// stages, another keeps what was applied and removes stages that are no longer needed.
//
// Order of locks: commit_mutex_, then catalog_mutex_, then mutex_.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "meta/base/mutex.h"
#include "meta/base/result.h"
#include "meta/base/unique_fd.h"
#include "replica/apply/attributes_writer.h"
#include "replica/apply/catalog.h"
#include "replica/apply/foreign_edits.h"
#include "replica/apply/marker.h"
#include "replica/apply/room.h"
#include "replica/apply/stage.h"
#include "replica/apply/tree_mounts.h"
#include "replica/store/session_holder.h"
#include "replica/wire/messages.h"

namespace tandem::replica {

class Volume {
 public:
  // `path` is STORE/NAME, and `fd` is open on it. Finishes or discards what a crash has left: a
  // committed stage is redone in the background.
  static Result<std::unique_ptr<Volume>> Open(UniqueFd fd, const std::string& path,
                                              const VolumeIdentity& identity);
  // Makes what Open expects in an empty directory, durably.
  static Status Prepare(int fd, const VolumeIdentity& identity);
  ~Volume();
  // Ends waiting requests and the redo under way, which the next start finishes.
  void Stop();

  const VolumeIdentity& identity() const { return identity_; }
  // Answers Hello: opens a session. The one before, and its stage, end.
  Reply Greet(const Hello& hello, const ConnectionRef& connection);
  // Answers all other requests.
  Reply Handle(const Request& request, const ConnectionRef& connection);

 private:
  // Holds off redoes while the tree and the catalog are looked at.
  class Inspection;

  Volume(UniqueFd fd, const std::string& path, const VolumeIdentity& identity);

  // ---- Start (volume_start.cc)
  Status Start();
  Status OpenDirectories();
  Status OpenCatalog();
  Status SetCatalogAside();
  // False: what is there is of no one moment, and no stage leads from it to one (volume_copied.cc).
  Result<bool> AdoptCopiedTree();
  // Returns those that do not follow, oldest first.
  Result<std::vector<std::shared_ptr<Stage>>> RecoverStages();
  Status DiscardStages();
  std::vector<std::shared_ptr<Stage>> AdoptStages(
      const std::vector<std::shared_ptr<Stage>>& stages);
  Status RemoveStrayFiles(const std::vector<std::string>& names);
  Status CheckMarker(std::vector<std::shared_ptr<Stage>> astray);

  // ---- Threads
  void RunRedo();
  bool RedoOnce();
  void RunSync();
  // Waits so long, or until the volume is to stop.
  void Pause(CondVar::Clock::duration time);
  Status SyncTree();
  Status SyncOnce();
  // Brings what was applied to stable storage, tree and catalog. Returns the stages that are no
  // longer needed.
  Result<std::vector<std::shared_ptr<Stage>>> KeepApplied();
  Status KeepCatalog() REQUIRES(catalog_mutex_);
  // What PositionNow says of objects that fall short.
  Status LookForShortObjects() REQUIRES(catalog_mutex_) EXCLUDES(mutex_);
  // Stages of which the catalog does not know any more are to be redone.
  Status RedoWhatWasLost() REQUIRES(catalog_mutex_);
  // After a sync that failed nobody knows what is on the disk, and the next one may say that all is
  // well: all that was not kept is done again.
  // Returns `why`.
  tl::unexpected<Error> RedoWhatWasNotKept(Error why) REQUIRES(catalog_mutex_);
  // The tree is of no one moment, and the catalog says so.
  void LeaveEveryCut(const std::string& why, const AppliedCut& nowhere) REQUIRES(mutex_);
  // Nothing may be mounted in the tree.
  Status CheckMounts();
  // Looks whether the catalog is where the tree is; otherwise returns the refusal for a request
  // that reads.
  std::optional<Reply> CheckCatalog() REQUIRES(catalog_mutex_);

  // ---- Requests
  Reply Dispatch(const Request& request);
  Reply Take(const Begin& begin);
  Reply Take(const Chunk& chunk);
  Reply Take(const Commit& commit);
  Reply Take(const WaitApplied& wait, SessionId session);
  Reply Take(const GetSignature& get);
  Reply Take(const List& list);
  Reply Take(const Find& find);
  Reply Take(const GetDigests& get);
  std::optional<Reply> RefuseSecond(const Hello& hello);
  std::optional<Reply> CheckRoom(uint64_t bytes);
  Reply CheckAndCommit(const Commit& commit, const std::shared_ptr<Stage>& stage)
      REQUIRES(commit_mutex_);
  std::optional<Reply> CheckPlan(const Commit& commit, const std::shared_ptr<Stage>& stage);
  // Makes the stage durable, and one of those to be redone.
  Reply Promise(const Commit& commit, const std::shared_ptr<Stage>& stage) REQUIRES(commit_mutex_);
  // ---- Little room (volume_room.cc)
  // Makes the files of which there is always to be one, as far as there is room.
  void MakeSpares() REQUIRES(catalog_mutex_);
  // Refuses what there is no room to redo, and claims that of the last stage if there is little.
  // `may_count_on_freed`: the tree is at no cut, or stands between two, in any case.
  std::optional<Reply> EnsureRoom(Plan& plan, const std::vector<std::shared_ptr<Stage>>& stages,
                                  bool may_count_on_freed) REQUIRES(catalog_mutex_);
  std::optional<Reply> CheckThatItFrees(Plan& plan, const std::shared_ptr<Stage>& stage)
      REQUIRES(catalog_mutex_);
  Reply RefuseForRoom(const Room& need, const Room& free) const;
  bool IsBlockedForRoom();
  // Whether there is so little that what is applied is to be kept before the next redo.
  bool MustKeepFirst() EXCLUDES(mutex_);
  // A cut on top of one that cannot be applied for lack of room: both are redone as one. Nothing:
  // there is no such cut (any more).
  std::optional<Reply> CommitOnBlocked(const Commit& commit, const std::shared_ptr<Stage>& stage)
      REQUIRES(commit_mutex_);
  std::optional<Reply> ResolveDeltas(std::vector<Record>& records);
  std::optional<Reply> ResolveDelta(DataRecord& record);
  std::optional<Reply> OpenForReading(ObjectId object, UniqueFd& fd);

  std::shared_ptr<Stage> OpenStage(CutId id);
  void CloseStage() REQUIRES(commit_mutex_);
  void NoteEnded(CutId stage) REQUIRES(mutex_);
  Position PositionNow() REQUIRES(mutex_);
  Position PositionLocked();
  bool IsNowhere();
  Reply Failure(const Error& error) const;
  Reply BusyReply() REQUIRES(mutex_);

  const VolumeIdentity identity_;
  const std::string path_;
  const UniqueFd fd_;
  UniqueFd root_fd_;
  UniqueFd stage_fd_;
  UniqueFd hold_fd_;
  uint64_t largest_file_ = 0;  // from the start on
  TreeMounts mounts_;
  ForeignEdits edits_;

  Mutex commit_mutex_;  // Greet, Begin and Commit, one at a time
  // The last one, and why. To find that out may have taken so long that it is told again.
  struct RefusedCommit {
    Commit commit;
    Reply reply;
  };
  std::optional<RefusedCommit> refused_ GUARDED_BY(commit_mutex_);

  // Held by a redo from beginning to end.
  Mutex catalog_mutex_;
  std::unique_ptr<Catalog> catalog_ GUARDED_BY(catalog_mutex_);

  Mutex mutex_;
  CondVar changed_;
  SessionId session_ GUARDED_BY(mutex_);
  SessionHolder holder_ GUARDED_BY(mutex_);
  std::shared_ptr<Stage> stage_ GUARDED_BY(mutex_);
  std::deque<CutId> closed_stages_ GUARDED_BY(mutex_);
  AppliedCut durable_ GUARDED_BY(mutex_);
  AppliedCut applied_ GUARDED_BY(mutex_);
  bool empty_ GUARDED_BY(mutex_) = true;
  // Committed, to be redone, as one. They begin where the catalog is.
  std::vector<std::shared_ptr<Stage>> pending_ GUARDED_BY(mutex_);
  // Applied, but not yet known to be on stable storage. All up to the cut of the catalog.
  std::vector<std::shared_ptr<Stage>> unsynced_ GUARDED_BY(mutex_);
  int inspections_ GUARDED_BY(mutex_) = 0;
  std::optional<Error> blocked_ GUARDED_BY(mutex_);
  // A redo has begun that did not end well: what stands in the tree may be its doing.
  bool redo_unfinished_ GUARDED_BY(mutex_) = true;
  bool sync_failed_ GUARDED_BY(mutex_) = false;  // the last time; blocked_ says how
  Notices notices_ GUARDED_BY(mutex_);
  std::vector<ShortObject> short_objects_ GUARDED_BY(mutex_);  // some of them
  uint64_t short_count_ GUARDED_BY(mutex_) = 0;
  std::string history_notice_ GUARDED_BY(mutex_);
  std::atomic<bool> stopping_{false};

  std::thread redo_thread_;
  std::thread sync_thread_;
};

}  // namespace tandem::replica
