// Changes of the set of replicas while the volume is mounted (tools/SETTINGS.md).
#include <algorithm>
#include <utility>

#include "meta/base/log.h"
#include "replica/source/replication.h"

namespace tandem::replica {
namespace {

tl::unexpected<Error> Ended() {
  return MakeError(ErrorKind::kCancelled, "the mount is ending: change its replicas later");
}

}  // namespace

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
  Insert(record);
  LogInfo("replica {} at {} was added", name, url);
  return {};
}

Status Replication::Remove(const std::string& name) {
  MutexLock changing(changing_);
  if (ended_) return Ended();
  ASSIGN_OR_RETURN(const auto senders, Find(name));
  senders.front()->End();  // it notes no cut any more
  meta::ReplicaRecord record;
  {
    // From here on its record is not written any more.
    MutexLock lock(mutex_);
    record = MemberOf(name)->record;
    std::erase_if(members_, [&name](const Member& member) { return member.record.name == name; });
  }
  Status deleted =
      writer_.Do([&name](meta::StateDatabase& state) { return state.DeleteReplica(name); });
  if (!deleted) {
    Insert(record);
    return deleted;
  }
  // Only now: what the next start finds must still be there.
  retention_.Release(name);
  LogInfo("replica {} was removed", name);
  MutexLock lock(mutex_);
  changed_ = true;
  wake_.NotifyAll();
  return {};
}

// Until the other sender has begun the old one stands in its place: what waits for the replica is
// not told that there is none.
Status Replication::Exchange(const std::string& name, const std::string& to,
                             const std::string& url) {
  std::shared_ptr<Sender> old;
  {
    MutexLock lock(mutex_);
    Member* const member = MemberOf(name);
    if (member == nullptr) {
      return MakeError(ErrorKind::kUsage, "no replica is called " + name + " (see tandem status)");
    }
    RETURN_IF_ERROR(CheckIsFree(to, url.empty() ? member->record.url : url, member));
    old = member->sender;
  }
  old->End();  // it notes no cut any more
  meta::ReplicaRecord record;
  uint64_t key;
  {
    MutexLock lock(mutex_);
    Member* const member = MemberOf(name);
    member->is_exchanged = true;
    record = member->record;
    key = member->key;
  }
  const meta::ReplicaRecord before = record;
  record.name = to;
  if (!url.empty()) record.url = url;
  Status written = writer_.Do([&](meta::StateDatabase& state) -> Status {
    RETURN_IF_ERROR(state.DeleteReplica(name));
    return state.PutReplica(record);
  });
  if (!written) record = before;
  if (record.name != name) retention_.Rename(name, record.name);
  auto sender = MakeSender(key, record);
  MutexLock lock(mutex_);
  Member* const member = MemberOf(name);
  // What was set meanwhile is kept.
  member->record.name = record.name;
  member->record.url = record.url;
  member->is_exchanged = false;
  member->sender = std::move(sender);
  member->sender->SetPaused(member->record.paused);
  member->sender->SetBandwidth(LimitOf(member->record));
  member->sender->SetInterval(interval_);
  changed_ = true;
  wake_.NotifyAll();
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
