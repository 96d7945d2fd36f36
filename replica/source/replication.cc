#include "replica/source/replication.h"

#include <algorithm>
#include <ctime>
#include <utility>

#include "meta/base/log.h"
#include "replica/source/tuning.h"

namespace tandem::replica {

std::unique_ptr<Replication> Replication::Start(Options options, meta::Tracker& tracker,
                                                const meta::SourceTree& tree,
                                                meta::StateWriter& writer) {
  std::unique_ptr<Replication> replication(
      new Replication(std::move(options), tracker, tree, writer));
  Replication* self = replication.get();
  for (const meta::ReplicaRecord& record : self->options_.replicas) self->Insert(record);
  replication->thread_ = std::thread([self] { self->Run(); });
  return replication;
}

void Replication::Insert(const meta::ReplicaRecord& record) {
  uint64_t key;
  {
    MutexLock lock(mutex_);
    key = next_key_++;
    members_.push_back({key, record, nullptr});
  }
  auto sender = MakeSender(key, record);
  MutexLock lock(mutex_);
  std::ranges::find(members_, key, &Member::key)->sender = std::move(sender);
}

// A limit is checked when it is set. A state of another version may have one that cannot be read.
BandwidthSchedule Replication::LimitOf(const meta::ReplicaRecord& record) {
  if (record.bandwidth.empty()) return usual_bandwidth_;
  auto schedule = BandwidthSchedule::Parse(record.bandwidth);
  if (schedule) return std::move(*schedule);
  LogError("replica {}: {}", record.name, schedule.error().ToString());
  return usual_bandwidth_;
}

std::shared_ptr<Sender> Replication::MakeSender(uint64_t key, const meta::ReplicaRecord& record) {
  Sender::Options sender;
  sender.name = record.name;
  sender.url = record.url;
  sender.find_credentials = options_.find_credentials;
  sender.volume_name = options_.volume_name;
  sender.volume = options_.volume;
  sender.source = options_.source;
  sender.run = options_.run;
  sender.life = options_.life;
  {
    MutexLock lock(mutex_);
    sender.interval = interval_;
    sender.bandwidth = LimitOf(record);
  }
  sender.paused = record.paused;
  sender.last_applied = record.applied;
  sender.reconcile_owed = record.reconcile_owed;
  sender.compare_after = record.compare_after;
  return std::make_shared<Sender>(std::move(sender), tracker_, tree_, retention_,
                                  [this, key](const CutName& durable, const CutName& applied,
                                              bool owed) { Applied(key, durable, applied, owed); });
}

void Replication::Stop() {
  {
    // A replica that is being added is stopped below.
    MutexLock changing(changing_);
    ended_ = true;
  }
  for (const auto& sender : Senders()) sender->Stop();
}

Replication::~Replication() {
  Stop();
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    wake_.NotifyAll();
  }
  thread_.join();
  std::vector<Member> members;
  {
    MutexLock lock(mutex_);
    members = members_;
    for (Member& member : members_) member.sender.reset();
  }
  members.clear();  // waits for their threads, which note what they have reached
  Remember();
}

void Replication::Applied(uint64_t key, const CutName& durable, const CutName& applied,
                          bool reconcile_owed) {
  bool paid;
  {
    MutexLock lock(mutex_);
    const auto member = std::ranges::find(members_, key, &Member::key);
    if (member == members_.end()) return;  // it has just been removed
    meta::ReplicaRecord& record = member->record;
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
    const bool must_look = !dropped || retention_.IsNearly(options_.most_changes);
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
    ResumeDue();
    // Only if that frees something: on a full disk nothing is dropped.
    const auto replica =
        dropped ? retention_.ReleaseFurthestBehind(options_.most_changes) : std::nullopt;
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
      replica, options_.most_changes);
  const auto found = Find(replica);
  const bool lacks = found && found->front()->LacksSomething();
  MutexLock lock(mutex_);
  Member* const member = MemberOf(replica);
  if (member == nullptr || !(member->record.reconcile_owed || lacks)) return;
  member->record.reconcile_owed = true;
  member->record.compare_after = Epoch();
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
      for (const Member& member : members_) {
        if (!member.is_exchanged) records.push_back(member.record);
      }
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

std::vector<std::shared_ptr<Sender>> Replication::Senders() {
  MutexLock lock(mutex_);
  std::vector<std::shared_ptr<Sender>> senders;
  for (const Member& member : members_) {
    if (member.sender != nullptr) senders.push_back(member.sender);
  }
  return senders;
}

std::vector<ReplicaStatus> Replication::Statuses() {
  const auto deadline = CondVar::Clock::now() + kStatusWaits;
  std::vector<std::pair<std::shared_ptr<Sender>, uint64_t>> asked;
  for (auto& sender : Senders()) {
    if (const auto ask = sender->AskIfUnheard()) asked.emplace_back(std::move(sender), *ask);
  }
  for (const auto& [sender, ask] : asked) sender->AwaitAnswer(ask, deadline);
  return Glance();
}

std::vector<ReplicaStatus> Replication::Glance() {
  std::vector<ReplicaStatus> statuses;
  for (const auto& sender : Senders()) statuses.push_back(sender->status());
  MutexLock lock(mutex_);
  for (ReplicaStatus& status : statuses) {
    const Member* const member = MemberOf(status.name);
    if (member != nullptr && member->record.paused) {
      status.paused_until = member->record.paused_until;
    }
  }
  return statuses;
}

std::vector<Replication::OfObject> Replication::Holders(const ObjectId& object) {
  std::vector<OfObject> holders;
  for (const auto& sender : Senders()) {
    holders.push_back({sender->name(), sender->HasObject(object), sender->status().applied.epoch});
  }
  return holders;
}

Result<std::vector<std::shared_ptr<Sender>>> Replication::Find(
    const std::optional<std::string>& replica) {
  std::vector<std::shared_ptr<Sender>> found = Senders();
  if (!replica) return found;
  std::erase_if(found, [&](const auto& sender) { return sender->name() != *replica; });
  if (found.empty()) {
    return MakeError(ErrorKind::kUsage,
                     "no replica is called " + *replica + " (see tandem status)");
  }
  return found;
}

Status Replication::WaitUntilApplied(const std::optional<std::string>& replica, Epoch epoch,
                                     CondVar::Clock::time_point deadline) {
  ASSIGN_OR_RETURN(const auto senders, Find(replica));
  if (senders.empty()) {
    return MakeError(ErrorKind::kUsage,
                     "this volume has no replica: nothing is safe anywhere else. Mount it with "
                     "--replica [NAME=]URL");
  }
  for (const auto& sender : senders) {
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

Status Replication::ForEach(const std::optional<std::string>& replica,
                            const std::function<void(Member&)>& change) {
  MutexLock lock(mutex_);
  if (replica && MemberOf(*replica) == nullptr) {
    return MakeError(ErrorKind::kUsage,
                     "no replica is called " + *replica + " (see tandem status)");
  }
  for (Member& member : members_) {
    if (!replica || member.record.name == *replica) change(member);
  }
  changed_ = true;
  wake_.NotifyAll();
  return {};
}

void Replication::Pause(Member& member, bool paused, int64_t until) {
  member.record.paused = paused;
  member.record.paused_until = paused ? until : 0;
  if (member.sender != nullptr) member.sender->SetPaused(paused);
}

Status Replication::SetPaused(const std::optional<std::string>& replica, bool paused,
                              int64_t until) {
  return ForEach(replica,
                 [&](Member& member) NO_THREAD_SAFETY_ANALYSIS { Pause(member, paused, until); });
}

Status Replication::SetBandwidth(const std::optional<std::string>& replica,
                                 const std::optional<BandwidthSchedule>& schedule) {
  return ForEach(replica, [&](Member& member) NO_THREAD_SAFETY_ANALYSIS {
    member.record.bandwidth = schedule ? schedule->text() : "";
    if (member.sender != nullptr) member.sender->SetBandwidth(LimitOf(member.record));
  });
}

void Replication::SetUsualBandwidth(const BandwidthSchedule& schedule) {
  MutexLock lock(mutex_);
  usual_bandwidth_ = schedule;
  for (Member& member : members_) {
    if (member.sender != nullptr) member.sender->SetBandwidth(LimitOf(member.record));
  }
}

void Replication::SetInterval(std::chrono::milliseconds interval) {
  {
    MutexLock lock(mutex_);
    interval_ = interval;
  }
  for (const auto& sender : Senders()) sender->SetInterval(interval);
}

std::chrono::milliseconds Replication::interval() {
  MutexLock lock(mutex_);
  return interval_;
}

void Replication::Reconnect(const std::string& url) {
  for (const auto& sender : Senders()) {
    if (sender->url() == url) sender->Reconnect();
  }
}

// Pauses that have come to their end.
void Replication::ResumeDue() {
  const int64_t now = time(nullptr);
  MutexLock lock(mutex_);
  for (Member& member : members_) {
    const meta::ReplicaRecord& record = member.record;
    if (!record.paused || record.paused_until == 0 || record.paused_until > now) continue;
    LogInfo("replica {}: the time of its pause is over", record.name);
    Pause(member, false, 0);
    changed_ = true;
  }
}

Replication::Member* Replication::MemberOf(const std::string& name) {
  const auto found = std::ranges::find_if(
      members_, [&name](const Member& member) { return member.record.name == name; });
  return found == members_.end() ? nullptr : &*found;
}

}  // namespace tandem::replica
