// What could not be read from the source (EIO): cuts go without it, and it is tried again.
#include "meta/tracker.h"

namespace tandem::meta {
namespace {

constexpr std::chrono::seconds kRetryAfter{5};

}  // namespace

Status Tracker::Defer(const ObjectRef& object, const ObjectChange& change) {
  {
    MutexLock lock(layers_mutex_);
    Deferred& deferred =
        deferred_.try_emplace(object.id, Deferred{object, {}, BootTimeNs(), {}, 0}).first->second;
    deferred.change.handle = object.handle;
    deferred.change.MergeNewer(change);
    deferred.retry = CondVar::Clock::now() + kRetryAfter;
    deferred.serial = ++last_deferral_;
  }
  return writer_.Do([&](StateDatabase& database) {
    return database.AddDirty({object, {{kDeferredEpoch, change}}});
  });
}

Status Tracker::RecordAgain(const ObjectRef& object, const ObjectChange& change) {
  for (const ByteRange& range : change.data.ToVector()) {
    ASSIGN_OR_RETURN(Operation operation,
                     Begin(Intent().Data(object, range), nullptr, /*alters=*/false));
    operation.Wrote(object, range);
  }
  if (change.listing) {
    ASSIGN_OR_RETURN(Operation operation,
                     Begin(Intent().Entries(object), nullptr, /*alters=*/false));
    operation.ChangedNames(object);
  }
  if (change.whole || change.attributes != kNoAttributes) {
    ASSIGN_OR_RETURN(Operation operation,
                     Begin(Intent().Attributes(object), nullptr, /*alters=*/false));
    operation.ChangedAttributes(object, kAllAttributes);
  }
  return {};
}

// First the changes are marked and pending as any other change; only then the deferral goes.
Status Tracker::RetryDeferred() {
  std::vector<Deferred> due;
  {
    MutexLock lock(layers_mutex_);
    for (const auto& [id, deferred] : deferred_) {
      if (deferred.retry <= CondVar::Clock::now()) due.push_back(deferred);
    }
  }
  for (const Deferred& deferred : due) {
    RETURN_IF_ERROR(RecordAgain(deferred.object, deferred.change));
    const ObjectId id = deferred.object.id;
    {
      MutexLock lock(layers_mutex_);
      const auto now = deferred_.find(id);
      // Read in vain once more already?
      if (now == deferred_.end() || now->second.serial != deferred.serial) continue;
      deferred_.erase(now);
    }
    RETURN_IF_ERROR(writer_.Do([this, id](StateDatabase& database) -> Status {
      {
        MutexLock lock(layers_mutex_);
        if (deferred_.contains(id)) return {};
      }
      return database.DropDeferred(id);
    }));
  }
  return {};
}

}  // namespace tandem::meta
