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
  MutexLock lock(self->mutex_);
  for (const meta::ReplicaRecord& record : self->options_.replicas) {
    const uint64_t key = self->next_key_++;
    self->members_.push_back({key, record, self->MakeSender(key, record, self->interval_)});
  }
  replication->thread_ = std::thread([self] { self->Run(); });
  return replication;
}

// What its schedule was is checked when it is set. A state of another version may have one that
// cannot be read.
std::shared_ptr<Sender> Replication::MakeSender(uint64_t key, const meta::ReplicaRecord& record,
                                                std::chrono::milliseconds interval) {
  Sender::Options sender;
  sender.name = record.name;
  sender.url = record.url;
  sender.find_credentials = options_.find_credentials;
  sender.volume_name = options_.volume_name;
  sender.volume = options_.volume;
  sender.source = options_.source;
  sender.run = options_.run;
  sender.life = options_.life;
  sender.interval = interval;
  if (auto schedule = BandwidthSchedule::Parse(record.bandwidth)) {
    sender.bandwidth = std::move(*schedule);
  } else {
    LogError("replica {}: {}", record.name, schedule.error().ToString());
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

Status Replication::SetPaused(const std::optional<std::string>& replica, bool paused,
                              int64_t until) {
  ASSIGN_OR_RETURN(const auto senders, Find(replica));
  for (const auto& sender : senders) {
    sender->SetPaused(paused);
    MutexLock lock(mutex_);
    if (Member* const member = MemberOf(sender->name())) {
      member->record.paused = paused;
      member->record.paused_until = paused ? until : 0;
    }
    changed_ = true;
    wake_.NotifyAll();
  }
  return {};
}

Status Replication::SetBandwidth(const std::optional<std::string>& replica,
                                 const BandwidthSchedule& schedule) {
  ASSIGN_OR_RETURN(const auto senders, Find(replica));
  for (const auto& sender : senders) {
    sender->SetBandwidth(schedule);
    MutexLock lock(mutex_);
    if (Member* const member = MemberOf(sender->name())) {
      member->record.bandwidth = schedule.text();
    }
    changed_ = true;
    wake_.NotifyAll();
  }
  return {};
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
  std::vector<std::string> due;
  {
    MutexLock lock(mutex_);
    for (const Member& member : members_) {
      const meta::ReplicaRecord& record = member.record;
      if (record.paused && record.paused_until != 0 && record.paused_until <= now) {
        due.push_back(record.name);
      }
    }
  }
  for (const std::string& name : due) {
    LogInfo("replica {}: the time of its pause is over", name);
    (void)SetPaused(name, false);
  }
}

// ---- Changes of the set ------------------------------------------------------------------------

Replication::Member* Replication::MemberOf(const std::string& name) {
  const auto found = std::ranges::find_if(
      members_, [&name](const Member& member) { return member.record.name == name; });
  return found == members_.end() ? nullptr : &*found;
}

Status Replication::CheckIsFree(const std::string& name, const std::string& url,
                                const Member* but) {
  for (const Member& member : members_) {
    if (&member == but) continue;
    if (member.record.name == name) {
      return MakeError(ErrorKind::kUsage, "a replica is called " + name + " already");
    }
    if (member.record.url == url) {
      return MakeError(ErrorKind::kUsage,
                       "replica " + member.record.name + " is at " + url + " already");
    }
  }
  return {};
}

std::vector<meta::ReplicaRecord> Replication::Records() {
  MutexLock lock(mutex_);
  std::vector<meta::ReplicaRecord> records;
  for (const Member& member : members_) records.push_back(member.record);
  return records;
}

namespace {

tl::unexpected<Error> Ended() {
  return MakeError(ErrorKind::kCancelled, "the mount is ending: change its replicas later");
}

}  // namespace

Status Replication::Add(const std::string& name, const std::string& url) {
  MutexLock changing(changing_);
  if (ended_) return Ended();
  meta::ReplicaRecord record;
  record.name = name;
  record.url = url;
  record.reconcile_owed = true;
  {
    MutexLock lock(mutex_);
    RETURN_IF_ERROR(CheckIsFree(name, url, nullptr));
  }
  RETURN_IF_ERROR(
      writer_.Do([&record](meta::StateDatabase& state) { return state.PutReplica(record); }));
  MutexLock lock(mutex_);
  const uint64_t key = next_key_++;
  members_.push_back({key, record, MakeSender(key, record, interval_)});
  LogInfo("replica {} at {} was added", name, url);
  return {};
}

Status Replication::Remove(const std::string& name) {
  MutexLock changing(changing_);
  if (ended_) return Ended();
  ASSIGN_OR_RETURN(const auto senders, Find(name));
  {
    // From here on its record is not written any more.
    MutexLock lock(mutex_);
    std::erase_if(members_, [&name](const Member& member) { return member.record.name == name; });
  }
  senders.front()->End();
  retention_.Release(name);
  RETURN_IF_ERROR(
      writer_.Do([&name](meta::StateDatabase& state) { return state.DeleteReplica(name); }));
  LogInfo("replica {} was removed", name);
  MutexLock lock(mutex_);
  changed_ = true;
  wake_.NotifyAll();
  return {};
}

Status Replication::Exchange(const std::string& name, const std::string& to,
                             const std::string& url) {
  std::shared_ptr<Sender> old;
  meta::ReplicaRecord record;
  {
    MutexLock lock(mutex_);
    Member* const member = MemberOf(name);
    if (member == nullptr) {
      return MakeError(ErrorKind::kUsage, "no replica is called " + name + " (see tandem status)");
    }
    RETURN_IF_ERROR(CheckIsFree(to, url.empty() ? member->record.url : url, member));
    old = std::exchange(member->sender, nullptr);
  }
  old->End();  // it notes no cut any more
  {
    MutexLock lock(mutex_);
    Member* const member = MemberOf(name);
    member->is_exchanged = true;
    record = member->record;
  }
  record.name = to;
  if (!url.empty()) record.url = url;
  const Status written = writer_.Do([&](meta::StateDatabase& state) -> Status {
    RETURN_IF_ERROR(state.DeleteReplica(name));
    return state.PutReplica(record);
  });
  if (written && to != name) retention_.Rename(name, to);
  MutexLock lock(mutex_);
  Member* const member = MemberOf(name);
  if (written) member->record = std::move(record);
  member->is_exchanged = false;
  member->sender = MakeSender(member->key, member->record, interval_);
  return written;
}

Status Replication::Rename(const std::string& name, const std::string& to) {
  MutexLock changing(changing_);
  if (ended_) return Ended();
  return Exchange(name, to, "");
}

Status Replication::SetUrl(const std::string& name, const std::string& url) {
  MutexLock changing(changing_);
  if (ended_) return Ended();
  return Exchange(name, name, url);
}

}  // namespace tandem::replica
