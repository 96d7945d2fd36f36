#include "meta/capture/deferred_changes.h"

#include <algorithm>
#include <vector>

#include "meta/capture/change_signal.h"

namespace tandem::meta {

Status DeferredChanges::Add(const ObjectRef& object, const ObjectChange& change) {
  {
    MutexLock lock(mutex_);
    Deferred& deferred =
        deferred_.try_emplace(object.id, Deferred{object, {}, BootTimeNs(), {}, 0}).first->second;
    deferred.change.handle = object.handle;
    deferred.change.MergeNewer(change);
    deferred.retry = CondVar::Clock::now() + retry_after_;
    deferred.serial = ++last_serial_;
  }
  return writer_.Do([&](StateDatabase& database) {
    return database.AddDirty({object, {{kDeferredEpoch, change}}});
  });
}

Status DeferredChanges::RetryDue() {
  std::vector<Deferred> due;
  {
    MutexLock lock(mutex_);
    for (const auto& [id, deferred] : deferred_) {
      if (deferred.retry <= CondVar::Clock::now()) due.push_back(deferred);
    }
  }
  for (const Deferred& deferred : due) {
    RETURN_IF_ERROR(record_(deferred.object, deferred.change));
    RETURN_IF_ERROR(Forget(deferred.object.id, deferred.serial));
  }
  return {};
}

Status DeferredChanges::Forget(const ObjectId& object, uint64_t serial) {
  {
    MutexLock lock(mutex_);
    const auto found = deferred_.find(object);
    if (found == deferred_.end() || found->second.serial != serial) return {};
    deferred_.erase(found);
  }
  return writer_.Do([this, object](StateDatabase& database) -> Status {
    {
      MutexLock lock(mutex_);
      if (deferred_.contains(object)) return {};
    }
    return database.DropDeferred(object);
  });
}

std::optional<ObjectChange> DeferredChanges::Of(const ObjectId& object) {
  MutexLock lock(mutex_);
  const auto found = deferred_.find(object);
  if (found == deferred_.end()) return std::nullopt;
  return found->second.change;
}

std::optional<int64_t> DeferredChanges::OldestNs() {
  std::optional<int64_t> oldest;
  MutexLock lock(mutex_);
  for (const auto& [id, deferred] : deferred_) {
    oldest = std::min(oldest.value_or(deferred.since_ns), deferred.since_ns);
  }
  return oldest;
}

void DeferredChanges::CountPending(PendingCounts& counts) {
  MutexLock lock(mutex_);
  for (const auto& [id, deferred] : deferred_) counts.Add(deferred.change);
}

}  // namespace tandem::meta
