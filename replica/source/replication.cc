#include "replica/source/replication.h"

#include <algorithm>

#include "meta/base/log.h"
#include "replica/source/tuning.h"

namespace tandem::replica {

std::unique_ptr<Replication> Replication::Start(Options options, meta::Tracker& tracker,
                                                const meta::SourceTree& tree,
                                                meta::StateWriter& writer) {
  std::unique_ptr<Replication> replication(new Replication(tracker, writer, options.most_changes));
  {
    MutexLock lock(replication->mutex_);
    replication->records_ = options.replicas;
  }
  Replication* self = replication.get();
  for (size_t i = 0; i < options.replicas.size(); ++i) {
    const meta::ReplicaRecord& record = options.replicas[i];
    Sender::Options sender;
    sender.name = record.name;
    sender.url = record.url;
    sender.find_credentials = options.find_credentials;
    sender.volume_name = options.volume_name;
    sender.volume = options.volume;
    sender.source = options.source;
    sender.run = options.run;
    sender.life = options.life;
    sender.interval = options.interval;
    sender.paused = record.paused;
    sender.last_applied = record.applied;
    sender.reconcile_owed = record.reconcile_owed;
    sender.compare_after = record.compare_after;
    replication->senders_.push_back(std::make_unique<Sender>(
        std::move(sender), tracker, tree, replication->retention_,
        [self, i](const CutName& durable, const CutName& applied, bool owed) {
          self->Applied(i, durable, applied, owed);
        }));
  }
  replication->thread_ = std::thread([self] { self->Run(); });
  return replication;
}

void Replication::Stop() {
  for (const auto& sender : senders_) sender->Stop();
}

Replication::~Replication() {
  Stop();
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    wake_.NotifyAll();
  }
  thread_.join();
  senders_.clear();
  Remember();
}

void Replication::Applied(size_t index, const CutName& durable, const CutName& applied,
                          bool reconcile_owed) {
  bool paid;
  {
    MutexLock lock(mutex_);
    meta::ReplicaRecord& record = records_[index];
    paid = record.reconcile_owed && !reconcile_owed;
    record.durable = durable;
    record.applied = applied;
    record.reconcile_owed = reconcile_owed;
    if (!std::exchange(changed_, true)) wake_.NotifyAll();
  }
  // Written before the replica is called current: a crash after that must not cost a second
  // reconcile.
  if (paid) (void)Remember();
}

void Replication::Run() {
  auto begun = CondVar::Clock::now();
  bool dropped = true;
  while (true) {
    // Much is remembered, or could not be dropped.
    const bool must_look = !dropped || retention_.IsNearly(most_changes_);
    const CondVar::Clock::duration at_least = must_look             ? kDropEvery
                                              : retention_.HasAny() ? kLookAtChangesEvery
                                                                    : kDropAtLeastEvery;
    {
      MutexLock lock(mutex_);
      while (!stopping_ && !changed_ && wake_.WaitUntil(mutex_, begun + at_least)) {
      }
      while (!stopping_ && wake_.WaitUntil(mutex_, begun + kDropEvery)) {
      }
      if (stopping_) return;
    }
    begun = CondVar::Clock::now();
    // Only if that frees something: on a full disk nothing is dropped.
    const auto replica = dropped ? retention_.ReleaseFurthestBehind(most_changes_) : std::nullopt;
    if (replica) NoteReleased(*replica);
    // Logged by the writer; what could not be dropped is dropped later.
    dropped = Remember() && retention_.Drop();
  }
}

// With the hold, what was suspect for a replica that owes a reconcile, and what it lacks, is
// forgotten: then its content has to be compared.
void Replication::NoteReleased(const std::string& replica) {
  LogWarning(
      "replica {}: more than {} objects and names have changed since its cut, which is all that is "
      "remembered: when it is there its tree is compared with the source",
      replica, most_changes_);
  const bool lacks = std::ranges::any_of(senders_, [&replica](const auto& sender) {
    return sender->name() == replica && sender->LacksSomething();
  });
  MutexLock lock(mutex_);
  for (meta::ReplicaRecord& record : records_) {
    if (record.name != replica || !(record.reconcile_owed || lacks)) continue;
    record.reconcile_owed = true;
    record.compare_after = Epoch();
  }
  changed_ = true;
}

bool Replication::Remember() {
  {
    MutexLock lock(mutex_);
    if (!std::exchange(changed_, false)) return true;
  }
  const Status status = writer_.Do([this](meta::StateDatabase& database) -> Status {
    std::vector<meta::ReplicaRecord> records;
    {
      // Read inside the job, since jobs follow one another: none may overwrite a later record.
      MutexLock lock(mutex_);
      records = records_;
    }
    for (const meta::ReplicaRecord& record : records) RETURN_IF_ERROR(database.PutReplica(record));
    return {};
  });
  if (!status) {
    MutexLock lock(mutex_);
    changed_ = true;
  }
  return status.has_value();
}

std::vector<ReplicaStatus> Replication::Statuses() {
  const auto deadline = CondVar::Clock::now() + kStatusWaits;
  std::vector<std::pair<Sender*, uint64_t>> asked;
  for (const auto& sender : senders_) {
    if (const auto ask = sender->AskIfUnheard()) asked.emplace_back(sender.get(), *ask);
  }
  for (const auto& [sender, ask] : asked) sender->AwaitAnswer(ask, deadline);
  std::vector<ReplicaStatus> statuses;
  for (const auto& sender : senders_) statuses.push_back(sender->status());
  return statuses;
}

Result<std::vector<Sender*>> Replication::Find(const std::optional<std::string>& replica) {
  std::vector<Sender*> found;
  for (const auto& sender : senders_) {
    if (!replica || sender->name() == *replica) found.push_back(sender.get());
  }
  if (replica && found.empty()) {
    return MakeError(ErrorKind::kUsage,
                     "no replica is called " + *replica + " (see tandem status)");
  }
  return found;
}

Status Replication::WaitUntilApplied(const std::optional<std::string>& replica, Epoch epoch,
                                     CondVar::Clock::time_point deadline) {
  ASSIGN_OR_RETURN(const std::vector<Sender*> senders, Find(replica));
  if (senders.empty()) {
    return MakeError(ErrorKind::kUsage,
                     "this volume has no replica: nothing is safe anywhere else. Mount it with "
                     "--replica [NAME=]URL");
  }
  for (Sender* sender : senders) {
    const Sender::Waited waited = sender->WaitUntilApplied(epoch, deadline);
    if (waited == Sender::Waited::kApplied) continue;
    const ReplicaStatus status = sender->status();
    // Waiting longer is of no use: a person has to remove the cause.
    if (waited == Sender::Waited::kShort) {
      return MakeError(ErrorKind::kGivenUp,
                       "replica " + status.name + " at " + status.url + ": " + status.error);
    }
    return MakeError(ErrorKind::kUnreachable,
                     "replica " + status.name + " at " + status.url + " is not in sync: " +
                         NameOf(status.state) + (status.error.empty() ? "" : ": " + status.error));
  }
  return {};
}

Status Replication::SetPaused(const std::optional<std::string>& replica, bool paused) {
  ASSIGN_OR_RETURN(const std::vector<Sender*> senders, Find(replica));
  for (Sender* sender : senders) {
    sender->SetPaused(paused);
    MutexLock lock(mutex_);
    for (meta::ReplicaRecord& record : records_) {
      if (record.name == sender->name()) record.paused = paused;
    }
    changed_ = true;
    wake_.NotifyAll();
  }
  return {};
}

void Replication::Reconnect(const std::string& url) {
  for (const auto& sender : senders_) {
    if (sender->url() == url) sender->Reconnect();
  }
}

}  // namespace tandem::replica
