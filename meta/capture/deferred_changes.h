// Changes that could not be read from the source (EIO): cuts go without them, and after a while
// they are recorded once more (meta/SCHEMA.md, "What cannot be read").
//
// Any thread; one thread at a time may call RetryDue. Nothing else is locked while the mutex is
// held.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <unordered_map>
#include <utility>

#include "meta/base/ids.h"
#include "meta/base/mutex.h"
#include "meta/capture/tuning.h"
#include "meta/change/change_set.h"
#include "meta/state/state_writer.h"

namespace tandem::meta {

class DeferredChanges {
 public:
  // Records `change` of the object in the open epoch, as an operation would.
  using Record = std::function<Status(const ObjectRef& object, const ObjectChange& change)>;

  // `writer` must outlive this.
  DeferredChanges(StateWriter& writer, Record record,
                  std::chrono::milliseconds retry_after = kDeferFor)
      : writer_(writer), record_(std::move(record)), retry_after_(retry_after) {}

  // Adds `change` to what is deferred of the object. On return the database knows of it.
  Status Add(const ObjectRef& object, const ObjectChange& change) EXCLUDES(mutex_);
  // Records what has been deferred for `retry_after`. Only what is recorded is no longer
  // deferred: a thread that looks here first and at the open epoch afterwards misses nothing.
  Status RetryDue() EXCLUDES(mutex_);

  // What is deferred of the object; nullopt if nothing is.
  std::optional<ObjectChange> Of(const ObjectId& object) EXCLUDES(mutex_);
  // BootTimeNs of the oldest; nullopt if nothing is deferred.
  std::optional<int64_t> OldestNs() EXCLUDES(mutex_);
  void CountPending(PendingCounts& counts) EXCLUDES(mutex_);

 private:
  struct Deferred {
    ObjectRef object;
    ObjectChange change;
    int64_t since_ns;  // BootTimeNs
    CondVar::Clock::time_point retry;
    uint64_t serial;  // of the last Add
  };

  // Forgets it, unless it has been added once more since `serial`.
  Status Forget(const ObjectId& object, uint64_t serial) EXCLUDES(mutex_);

  StateWriter& writer_;
  const Record record_;
  const std::chrono::milliseconds retry_after_;
  Mutex mutex_;
  std::unordered_map<ObjectId, Deferred> deferred_ GUARDED_BY(mutex_);
  uint64_t last_serial_ GUARDED_BY(mutex_) = 0;
};

}  // namespace tandem::meta
