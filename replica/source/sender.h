// Brings one replica from cut to cut: a thread that connects, says hello, and then ships a change
// set whenever there are changes and the replica is ready (replica/PROTOCOL.md). There is one for
// each replica, independent of the others.
//
// Any thread may call the public functions. All private ones are the thread's own.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "meta/base/mutex.h"
#include "meta/capture/tracker.h"
#include "meta/source/source_tree.h"
#include "replica/source/bandwidth.h"
#include "replica/source/cut_progress.h"
#include "replica/source/known_content.h"
#include "replica/source/object_shipper.h"
#include "replica/source/peer.h"
#include "replica/source/replica_status.h"
#include "replica/source/replica_view.h"
#include "replica/source/retention.h"
#include "replica/source/sender_control.h"
#include "replica/source/sender_tasks.h"
#include "replica/source/stage_writer.h"
#include "replica/source/thin_names.h"
#include "replica/source/walker.h"

namespace tandem::replica {

// What of a replica's tree has to be compared before its changes can be sent one by one again.
struct ReconcileDebt {
  // The whole tree has to be compared, whatever cut the replica is at; and of what it changed after
  // `compare_after`, the content.
  bool owed = false;
  Epoch compare_after;
  // What the last walk of everything compared the content of, and what it could not compare.
  Epoch walked_after = {};
  Walker::Uncompared uncompared = {};
};

class Sender {
 public:
  struct Options {
    std::string name;
    std::string url;
    FindCredentials find_credentials;
    std::string volume_name;
    VolumeId volume;
    std::string source;  // host:path, for messages
    RunId run;
    LifeId life;  // of the source's disk; null: a stage that was broken off is begun anew
    std::chrono::milliseconds interval{5};  // at least this between two cuts
    BandwidthSchedule bandwidth;
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

  void SetPaused(bool paused);
  void SetBandwidth(BandwidthSchedule schedule) { limit_.Set(std::move(schedule)); }
  void SetInterval(std::chrono::milliseconds interval) { interval_ = interval; }
  // Connects again, with credentials that are found anew.
  void Reconnect();
  // Ends the conversation, between two requests if need be; the destructor waits.
  void Stop();
  // Stops, and waits for the thread. One thread calls it.
  void End();
  ReplicaStatus status();
  // Asks the replica where it is, if it counts as current and has not been heard lately. Returns
  // the question, for AwaitAnswer, or nullopt.
  std::optional<uint64_t> AskIfUnheard();
  void AwaitAnswer(uint64_t ask, CondVar::Clock::time_point deadline) {
    view_.AwaitAnswer(ask, deadline);
  }
  // Whether its cut goes without something that could not be read.
  bool LacksSomething() { return !view_.lacking().empty(); }
  // What the replica has of an object: all of it as it is now, or not yet, or less than that
  // because something of it cannot be read, or it falls short there.
  enum class Has { kAll, kNotYet, kLess };
  Has HasObject(const ObjectId& object);
  bool stopping() const { return control_.stopping(); }
  using Waited = ReplicaView::Waited;
  // Waits until the replica, asked after the call, has said that it has applied `epoch`.
  Waited WaitUntilApplied(Epoch epoch, CondVar::Clock::time_point deadline);

  // Runs `task` on the sender's thread while nothing is being shipped or applied. Returns nullopt
  // if it has not begun by the deadline, and never will.
  using Task = SenderTasks::Task;
  std::optional<Status> TryTask(Task task, CondVar::Clock::time_point deadline);
  // Returns the error to report when such a task is not tried again.
  Status NotReached();

  const std::string& name() const { return options_.name; }
  const std::string& url() const { return options_.url; }

 private:
  void Run();
  Status Converse(Peer& peer);
  // Returns kProtocol if the replica cannot be where it says.
  Status CheckClaim(const Position& position);
  void HoldAfter(const CutName& reached);
  Status Step(Peer& peer, Position& position);
  void PerformTasks(Peer& peer, const Position& position);
  Status CheckStillThere(Peer& peer, Position& position);
  Status Ship(Peer& peer, Position& position);
  // A cut that the replica has made durable.
  struct Shipped {
    CutName cut;
    Position position;  // what it said to the commit
    ReplicaView::Inquiry inquiry;
  };
  Result<Shipped> FillStage(Peer& peer, const Position& position, StageWriter& stage);
  bool Heal();
  // Ships whole what falls short on the replica and may not any more. Returns whether there was
  // some; it is read live, not as at a cut.
  Result<bool> ShipShortObjects(const meta::Layer& changes, uint64_t largest_file, Walker& walker);
  Result<std::optional<meta::ObjectRef>> FindShortObject(const ShortObject& object);
  std::unordered_set<ObjectId> FindUnreadableThere(const std::vector<ShortObject>& objects);
  bool IsShortObjectDue();
  // The least time between the last cut and the next.
  std::chrono::milliseconds Interval() const;
  // Returns when the replica is to be asked whether it is still there: in the past, if it has not
  // answered the newest question.
  CondVar::Clock::time_point NextHeartbeat();
  bool IsHeartbeatDue();
  Status DeferUnreadable(const CutName& cut, ObjectShipper& objects);
  // Waits until `cut`, or one that was sent on top of it meanwhile, is applied.
  Status AwaitApplied(Peer& peer, Position& position, CutName cut);
  // The replica has said where it is, after it had made `cut` durable.
  Status TakePosition(Position& position, Position said, const CutName& cut,
                      const ReplicaView::Inquiry& inquiry);

  // ---- A replica without room (sender_cramped.cc)
  CutName RealCut(const CutName& cut) const { return thin_names_.RealCut(cut); }
  Result<CutName> CommitThin(Peer& peer, const CutName& base);
  Result<bool> MakeRoom(Peer& peer, Position& position, const Error& why);
  // `largest_file`: as in Position.
  std::optional<CutName> ShipOnTop(Peer& peer, const CutName& cut, uint64_t largest_file);
  Result<CutName> CommitOnTop(Peer& peer, const CutName& base, uint64_t largest_file);
  // Whether what has changed after the replica's cut is known, object by object.
  bool KnowsChanges() { return increments_ && retention_.Holds(options_.name); }

  void SetState(ReplicaState state, std::string error) { view_.SetState(state, std::move(error)); }
  void SetGoingOn(ReplicaState state) { view_.SetGoingOn(state, trouble_); }
  // To be called before a request is sent whose answer is a position.
  ReplicaView::Inquiry Inquire();
  void SetPosition(const Position& position, const ReplicaView::Inquiry& inquiry);

  const Options options_;
  meta::Tracker& tracker_;
  const meta::SourceTree& tree_;
  Retention& retention_;
  const OnApplied on_applied_;
  SenderControl control_;
  BandwidthLimit limit_;
  std::atomic<std::chrono::milliseconds> interval_;
  ReplicaView view_;
  SenderTasks tasks_;
  std::unique_ptr<Peer> peer_;  // destroyed before what it wakes
  ShipProgress progress_;
  CutProgress cut_progress_{progress_};

  // ---- The thread's own
  KnownContent known_;
  ThinNames thin_names_;
  // Whether changes after the replica's cut are known exactly.
  bool increments_ = false;
  ReconcileDebt debt_;
  bool deltas_ = true;         // whether they may be tried
  bool resume_ = true;         // whether a stage that was broken off may be gone on with
  bool got_through_ = false;   // whether the session has brought a cut to the replica
  bool has_room_ = true;       // whether the last change set found room there
  bool stage_is_left_ = true;  // whether the replica may have such a stage
  Epoch tried_on_top_;         // the newest cut that was sent on top of one that cannot be applied
  std::string trouble_;        // what stopped the last session, until a cut has got through
  CondVar::Clock::time_point last_cut_{};

  std::thread thread_;
};

}  // namespace tandem::replica
