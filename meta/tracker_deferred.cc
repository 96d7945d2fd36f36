// What could not be read from the source (EIO): cuts go without it, and it is tried again.
#include "meta/tracker.h"

namespace tandem::meta {
namespace {

constexpr std::chrono::seconds kRetryAfter{10};

}  // namespace

Status Tracker::Defer(const ObjectRef& file, const RangeSet& ranges) {
  ObjectChange change;
  change.handle = file.handle;
  change.data = ranges;
  {
    MutexLock lock(layers_mutex_);
    Deferred& deferred =
        deferred_.try_emplace(file.id, Deferred{file, {}, BootTimeNs(), {}, 0}).first->second;
    deferred.change.handle = file.handle;
    deferred.change.data.AddAll(ranges);
    deferred.retry = CondVar::Clock::now() + kRetryAfter;
    deferred.serial = ++last_deferral_;
  }
  return writer_.Do([&](StateDatabase& database) {
    return database.AddDirty({file, {{kDeferredEpoch, change}}});
  });
}

// First the ranges are marked and pending as any other change; only then the deferral goes.
Status Tracker::RetryDeferred() {
  std::vector<Deferred> due;
  {
    MutexLock lock(layers_mutex_);
    for (const auto& [id, deferred] : deferred_) {
      if (deferred.retry <= CondVar::Clock::now()) due.push_back(deferred);
    }
  }
  for (const Deferred& deferred : due) {
    for (const ByteRange& range : deferred.change.data.ToVector()) {
      ASSIGN_OR_RETURN(Operation operation,
                       Begin(Intent().Data(deferred.file, range), /*alters=*/false));
      operation.Wrote(deferred.file, range);
    }
    const ObjectId id = deferred.file.id;
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
