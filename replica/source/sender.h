// Brings one replica from cut to cut: a thread that connects, says hello, and then ships a change
// set whenever there are changes and the replica is ready (replica/PROTOCOL.md). One for each
// replica; they know nothing of each other.
//
// Public functions: any thread.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "meta/base/mutex.h"
#include "meta/source_tree.h"
#include "meta/tracker.h"
#include "replica/source/lacking.h"
#include "replica/source/link_watch.h"
#include "replica/source/object_shipper.h"
#include "replica/source/peer.h"
#include "replica/source/retention.h"
#include "replica/source/short_debts.h"
#include "replica/source/stage_writer.h"
#include "replica/source/walker.h"

namespace tandem::replica {

enum class ReplicaState {
  kConnecting,
  kSeeding,
  kReconciling,
  kCurrent,
  kCatchingUp,
  kPaused,
  kBlocked,
};
const char* NameOf(ReplicaState state);

struct ReplicaStatus {
  std::string name;
  std::string url;
  ReplicaState state = ReplicaState::kConnecting;
  CutName durable;
  CutName applied;
  double lag_seconds = 0;
  uint64_t sent_bytes = 0;
  uint64_t received_bytes = 0;
  meta::PendingCounts pending;  // what it has not been sent yet, of what it has not applied
  std::string error;            // why it is not current; empty if it is
  std::string notice;           // what the replica wants a person to know
  uint64_t objects_walked = 0;  // of a seed or reconcile under way
  uint64_t bytes_walked = 0;
};

class Sender {
 public:
  struct Options {
    std::string name;
    std::string url;
    std::string volume_name;
    VolumeId volume;
    std::string source;  // host:path, for messages
    RunId run;
    std::chrono::milliseconds interval{5};  // at least this between two cuts
    bool paused = false;
    CutName last_applied;  // as remembered from the last run; epoch 0: nothing is known
    // The whole tree has to be compared, whatever cut the replica is at; and of what it changed
    // after `compare_after`, the content.
    bool reconcile_owed = false;
    Epoch compare_after;
  };
  // Called when the replica has reached a new cut. `reconcile_owed`: its tree has still to be
  // compared, as something could not be read.
  using OnApplied =
      std::function<void(const CutName& durable, const CutName& applied, bool reconcile_owed)>;

  // All references must outlive the sender.
  Sender(Options options, meta::Tracker& tracker, const meta::SourceTree& tree,
         Retention& retention, OnApplied on_applied);
  ~Sender();

  void SetPaused(bool paused) EXCLUDES(mutex_);
  // Ends the conversation, between two instructions if need be; the destructor waits.
  void Stop() EXCLUDES(mutex_);
  ReplicaStatus status() EXCLUDES(mutex_);
  // The epoch it is known to have applied; the first if its cut is none of ours.
  Epoch applied() EXCLUDES(mutex_);
  // Its cut goes without something that could not be read.
  bool LacksSomething() EXCLUDES(mutex_);
  enum class Waited {
    kApplied,
    kShort,  // but for objects that fall short on the replica
    kNotInTime,
  };
  // Until the replica, asked after the call, has said that it has applied `epoch`.
  Waited WaitUntilApplied(Epoch epoch, CondVar::Clock::time_point deadline) EXCLUDES(mutex_);

  // Runs `task` on the sender's thread while nothing is being shipped or applied; `position` is
  // what the tree of the replica holds. kUnreachable if the replica is not there by the deadline.
  using Task = std::function<Status(Peer& peer, const Position& position)>;
  Status RunTask(Task task, CondVar::Clock::time_point deadline) EXCLUDES(mutex_);

  const std::string& name() const { return options_.name; }

 private:
  struct QueuedTask {
    Task task;
    bool started = false;
    bool finished = false;
    Status status;
  };

  void Run();
  Status Converse(Peer& peer);
  // kProtocol if it cannot be where it says.
  Status CheckClaim(const Position& position);
  void HoldAfter(const CutName& reached);
  Status Step(Peer& peer, Position& position);
  Status RunTasks(Peer& peer, const Position& position);
  Status CheckStillThere(Peer& peer, Position& position);
  Status Ship(Peer& peer, Position& position);
  Result<CutName> FillStage(Peer& peer, const Position& position, StageWriter& stage);
  bool Heal() EXCLUDES(mutex_);
  // Ships whole what falls short on the replica and may not any more. True: there was some, read
  // live.
  Result<bool> ShipShortObjects(const meta::Layer& changes, uint64_t largest_file, Walker& walker)
      EXCLUDES(mutex_);
  Result<std::optional<meta::ObjectRef>> FindShortObject(const ShortObject& object);
  bool IsShortObjectDue() EXCLUDES(mutex_);
  Status DeferUnreadable(const CutName& cut, ObjectShipper& objects) EXCLUDES(mutex_);
  // Waits until `cut`, or one that was sent on top of it meanwhile, is applied.
  Status AwaitApplied(Peer& peer, Position& position, CutName cut);

  // ---- A replica without room (sender_cramped.cc)
  // The cut after which everything has to be sent to a replica that is there: of a set of no moment
  // that we know, the one it was made from.
  CutName RealCut(const CutName& cut) const;
  Result<CutName> CommitThin(Peer& peer, const CutName& base);
  Result<bool> MakeRoom(Peer& peer, Position& position, const Error& why);
  // `largest_file`: as in Position.
  std::optional<CutName> ShipOnTop(Peer& peer, const CutName& cut, uint64_t largest_file);
  Result<CutName> CommitOnTop(Peer& peer, const CutName& base, uint64_t largest_file);
  // Whether what has changed after the replica's cut is known, object by object.
  bool KnowsChanges() { return increments_ && retention_.Holds(options_.name); }

  void SetState(ReplicaState state, std::string error) EXCLUDES(mutex_);
  // It does this now, and nothing is wrong; but what stopped it the last time stays in sight until
  // it has got past that.
  void SetGoingOn(ReplicaState state) EXCLUDES(mutex_);
  // Current, or catching up if the oldest change after `applied` is old. A replica that was not
  // current becomes so when nothing is left, or with a cut that is small (NoteHowFarBehind).
  ReplicaState StateAfter(Epoch applied) EXCLUDES(mutex_);
  // So many bytes are about to be sent to a replica that has applied `applied`.
  void NoteHowFarBehind(Epoch applied, uint64_t bytes) EXCLUDES(mutex_);
  bool IsLate(Epoch applied);
  // The newest question and the connection at the time when a request was sent whose answer is a
  // position.
  struct Inquiry {
    uint64_t asks = 0;
    uint64_t connection = 0;  // 0: none; the answer counts for no connection
  };
  Inquiry Inquire() EXCLUDES(mutex_);
  void SetPosition(const Position& position, const Inquiry& inquiry) EXCLUDES(mutex_);
  bool HeardLately() EXCLUDES(mutex_);
  void SetInStep(bool in_step) EXCLUDES(mutex_);
  bool WaitUnlessWoken(std::chrono::milliseconds time) EXCLUDES(mutex_);
  bool paused() EXCLUDES(mutex_);

  const Options options_;
  meta::Tracker& tracker_;
  const meta::SourceTree& tree_;
  Retention& retention_;
  const OnApplied on_applied_;
  const int64_t started_ns_;
  std::unique_ptr<Peer> peer_;
  std::unique_ptr<LinkWatch> watch_;
  ShipProgress progress_;
  CutProgress cut_progress_{progress_};
  // The thread's own: whether changes after the replica's cut are known exactly, whether deltas may
  // be tried, and when the last cut was taken.
  bool increments_ = false;
  bool reconcile_owed_;
  Epoch compare_after_;
  Epoch walked_after_;  // what the last walk of everything compared the content of
  Walker::Uncompared uncompared_;
  bool deltas_ = true;
  // Sets of no moment that were sent in this run.
  struct ThinName {
    CutName name;
    CutName base;
  };
  std::vector<ThinName> thin_sets_;
  Epoch tried_on_top_;   // the newest cut that was sent on top of one that cannot be applied
  std::string trouble_;  // what stopped the last session, until a cut has got through
  CondVar::Clock::time_point last_cut_{};
  CondVar::Clock::time_point last_heard_{};

  std::atomic<bool> stopping_{false};
  Mutex mutex_;
  CondVar woken_;
  CondVar changed_;
  bool paused_ GUARDED_BY(mutex_);
  // The replica itself has said in this run that it is at a cut we know.
  bool in_step_ GUARDED_BY(mutex_) = false;
  Inquiry heard_ GUARDED_BY(mutex_);  // the newest that was answered
  uint64_t asks_ GUARDED_BY(mutex_) = 0;
  ReplicaState state_ GUARDED_BY(mutex_) = ReplicaState::kConnecting;
  std::string error_ GUARDED_BY(mutex_);
  std::string logged_ GUARDED_BY(mutex_);  // of both, the last that was
  std::string notice_ GUARDED_BY(mutex_);
  CutName durable_ GUARDED_BY(mutex_);
  CutName applied_ GUARDED_BY(mutex_);
  CutName behind_since_ GUARDED_BY(mutex_);  // applied_, or the cut it was made from
  Lacking lacking_ GUARDED_BY(mutex_);
  ShortDebts short_debts_ GUARDED_BY(mutex_);
  std::vector<std::shared_ptr<QueuedTask>> tasks_ GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace tandem::replica
