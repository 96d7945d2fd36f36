// All replicas of one volume: their senders, what is kept for them, and what the state database
// remembers of them. Replicas can be added, changed and removed at any time.
//
// Any thread, except Start and the destructor. Lock order: changing_, mutex_. Jobs of the state's
// writer take mutex_: nothing that may wait for the writer is called while it is held.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "meta/base/mutex.h"
#include "meta/capture/tracker.h"
#include "meta/source/source_tree.h"
#include "meta/state/state_writer.h"
#include "replica/source/retention.h"
#include "replica/source/sender.h"
#include "replica/source/tuning.h"

namespace tandem::replica {

class Replication {
 public:
  struct Options {
    std::string volume_name;
    VolumeId volume;
    std::string source;
    RunId run = RunId::Random();
    LifeId life;  // of the source's disk
    std::chrono::milliseconds interval{5};
    // How many changed objects and names are remembered for replicas that are behind.
    uint64_t most_changes = kMaxChangesRemembered;
    BandwidthSchedule bandwidth;  // of replicas that have no limit of their own
    std::vector<meta::ReplicaRecord> replicas;
    FindCredentials find_credentials;  // of replicas at tls:// URLs
  };

  // All references must outlive the replication.
  static std::unique_ptr<Replication> Start(Options options, meta::Tracker& tracker,
                                            const meta::SourceTree& tree,
                                            meta::StateWriter& writer);
  ~Replication();
  // Ends the senders. Threads that wait for a replica return at once. No replica is added or
  // changed any more.
  void Stop() EXCLUDES(changing_, mutex_);

  // Asks replicas that are idle first, and waits kStatusWaits for their answers.
  std::vector<ReplicaStatus> Statuses() EXCLUDES(mutex_);
  // The same without asking.
  std::vector<ReplicaStatus> Glance() EXCLUDES(mutex_);
  // What each replica has of an object. The epoch is that of the cut it has applied.
  struct OfObject {
    std::string replica;
    Sender::Has has;
    Epoch applied;
  };
  std::vector<OfObject> Holders(const ObjectId& object) EXCLUDES(mutex_);

  // Waits until the replica, or each of them, has applied everything up to and including `epoch`.
  // The error names the first that has not by the deadline.
  Status WaitUntilApplied(const std::optional<std::string>& replica, Epoch epoch,
                          CondVar::Clock::time_point deadline) EXCLUDES(mutex_);
  // `until`: in seconds since 1970; 0: until it is resumed.
  Status SetPaused(const std::optional<std::string>& replica, bool paused, int64_t until = 0)
      EXCLUDES(mutex_);
  // Gives the replica, or all, a limit of its own; nullopt: none, that of all counts again.
  Status SetBandwidth(const std::optional<std::string>& replica,
                      const std::optional<BandwidthSchedule>& schedule) EXCLUDES(mutex_);
  // The limit of those that have none of their own.
  void SetUsualBandwidth(const BandwidthSchedule& schedule) EXCLUDES(mutex_);
  void SetInterval(std::chrono::milliseconds interval) EXCLUDES(mutex_);
  std::chrono::milliseconds interval() EXCLUDES(mutex_);
  // Connects again to the replicas at this URL, with credentials that are found anew.
  void Reconnect(const std::string& url) EXCLUDES(mutex_);
  // Returns the sender of the named replica, or all. Returns kUsage if there is none of that name.
  // A sender may be stopped, as its replica is removed, while it is in use.
  Result<std::vector<std::shared_ptr<Sender>>> Find(const std::optional<std::string>& replica)
      EXCLUDES(mutex_);

  // ---- Changes of the set of replicas. Each is durable when the call returns. A failed one has
  // changed nothing, unless the state cannot be written. Each waits for those before.

  std::vector<meta::ReplicaRecord> Records() EXCLUDES(mutex_);
  // Adds a replica, to which everything is sent that it lacks. Returns kUsage if the name or the
  // URL is that of another.
  Status Add(const std::string& name, const std::string& url) EXCLUDES(changing_, mutex_);
  // Forgets a replica and all that it lacks. Its store keeps what it has.
  Status Remove(const std::string& name) EXCLUDES(changing_, mutex_);
  Status Rename(const std::string& name, const std::string& to) EXCLUDES(changing_, mutex_);
  // The same replica is reached elsewhere. If another answers there, it is compared as a whole.
  Status SetUrl(const std::string& name, const std::string& url) EXCLUDES(changing_, mutex_);

 private:
  struct Member {
    uint64_t key;  // for as long as the process lives
    meta::ReplicaRecord record;
    std::shared_ptr<Sender> sender;  // null for a moment, when it is new
    bool is_exchanged = false;       // its record is being written
  };

  Replication(Options options, meta::Tracker& tracker, const meta::SourceTree& tree,
              meta::StateWriter& writer)
      : options_(std::move(options)),
        tracker_(tracker),
        tree_(tree),
        writer_(writer),
        retention_(tracker),
        interval_(options_.interval),
        usual_bandwidth_(options_.bandwidth) {}
  // Connects, which may take a moment, and takes the locks of the hold and the tracker.
  std::shared_ptr<Sender> MakeSender(uint64_t key, const meta::ReplicaRecord& record)
      EXCLUDES(mutex_);
  // Adds a member, and begins its sender.
  void Insert(const meta::ReplicaRecord& record) EXCLUDES(mutex_);
  BandwidthSchedule LimitOf(const meta::ReplicaRecord& record) REQUIRES(mutex_);
  void Pause(Member& member, bool paused, int64_t until) REQUIRES(mutex_);
  Status ForEach(const std::optional<std::string>& replica,
                 const std::function<void(Member&)>& change) EXCLUDES(mutex_);
  std::vector<std::shared_ptr<Sender>> Senders() EXCLUDES(mutex_);
  Member* MemberOf(const std::string& name) REQUIRES(mutex_);
  Status CheckIsFree(const std::string& name, const std::string& url, const Member* but)
      REQUIRES(mutex_);
  // Ends the replica's sender, stores the record with another name or URL, and begins another
  // sender. `url`: empty: as it is.
  Status Exchange(const std::string& name, const std::string& to, const std::string& url)
      REQUIRES(changing_) EXCLUDES(mutex_);
  void Applied(uint64_t key, const CutName& durable, const CutName& applied, bool reconcile_owed)
      EXCLUDES(mutex_);
  void Run();
  void ResumeDue() EXCLUDES(mutex_);
  void NoteReleased(const std::string& replica) EXCLUDES(mutex_);
  bool Remember() EXCLUDES(mutex_);

  const Options options_;
  meta::Tracker& tracker_;
  const meta::SourceTree& tree_;
  meta::StateWriter& writer_;
  Retention retention_;

  Mutex changing_;  // held while the set of replicas changes
  bool ended_ GUARDED_BY(changing_) = false;

  Mutex mutex_;
  CondVar wake_;
  bool stopping_ GUARDED_BY(mutex_) = false;
  bool changed_ GUARDED_BY(mutex_) = false;
  std::chrono::milliseconds interval_ GUARDED_BY(mutex_);
  BandwidthSchedule usual_bandwidth_ GUARDED_BY(mutex_);
  uint64_t next_key_ GUARDED_BY(mutex_) = 1;
  std::vector<Member> members_ GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace tandem::replica
