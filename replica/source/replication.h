// All replicas of one volume: their senders, what is kept for them, and what the state database
// remembers of them.
//
// Any thread, except Start and the destructor.
#pragma once

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
    std::vector<meta::ReplicaRecord> replicas;
    FindCredentials find_credentials;  // of replicas at tls:// URLs
  };

  // All references must outlive the replication.
  static std::unique_ptr<Replication> Start(Options options, meta::Tracker& tracker,
                                            const meta::SourceTree& tree,
                                            meta::StateWriter& writer);
  ~Replication();
  // Ends the senders. Threads that wait for a replica return at once.
  void Stop();

  // Asks replicas that are idle first, and waits kStatusWaits for their answers.
  std::vector<ReplicaStatus> Statuses();

  // Waits until the replica, or each of them, has applied everything up to and including `epoch`.
  // The error names the first that has not by the deadline.
  Status WaitUntilApplied(const std::optional<std::string>& replica, Epoch epoch,
                          CondVar::Clock::time_point deadline);
  Status SetPaused(const std::optional<std::string>& replica, bool paused);
  // Connects again to the replicas at this URL, with credentials that are found anew.
  void Reconnect(const std::string& url);
  // Returns the sender of the named replica, or all. Returns kUsage if there is none of that name.
  Result<std::vector<Sender*>> Find(const std::optional<std::string>& replica);

 private:
  Replication(meta::Tracker& tracker, meta::StateWriter& writer, uint64_t most_changes)
      : most_changes_(most_changes), writer_(writer), retention_(tracker) {}
  void Applied(size_t index, const CutName& durable, const CutName& applied, bool reconcile_owed)
      EXCLUDES(mutex_);
  void Run();
  void NoteReleased(const std::string& replica) EXCLUDES(mutex_);
  bool Remember() EXCLUDES(mutex_);

  const uint64_t most_changes_;
  meta::StateWriter& writer_;
  Retention retention_;
  std::vector<std::unique_ptr<Sender>> senders_;

  Mutex mutex_;
  CondVar wake_;
  bool stopping_ GUARDED_BY(mutex_) = false;
  bool changed_ GUARDED_BY(mutex_) = false;
  std::vector<meta::ReplicaRecord> records_ GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace tandem::replica
