#include "tools/status/events.h"

#include <algorithm>
#include <ctime>
#include <utility>

namespace tandem::tools {

using Json = nlohmann::json;

void Events::AddLocked(Json event) {
  event["number"] = first_ + events_.size();
  event["time"] = time(nullptr);
  events_.push_back(std::move(event));
  if (events_.size() > kMost) {
    events_.pop_front();
    ++first_;
  }
  added_.NotifyAll();
}

void Events::Add(Json event) {
  MutexLock lock(mutex_);
  AddLocked(std::move(event));
}

void Events::Observe(const std::vector<replica::ReplicaStatus>& statuses) {
  MutexLock lock(mutex_);
  for (auto seen = seen_.begin(); seen != seen_.end();) {
    const bool is_there =
        std::ranges::find(statuses, seen->first, &replica::ReplicaStatus::name) != statuses.end();
    if (!is_there) {
      AddLocked({{"event", "replica"}, {"replica", seen->first}, {"change", "removed"}});
    }
    seen = is_there ? std::next(seen) : seen_.erase(seen);
  }
  for (const replica::ReplicaStatus& status : statuses) {
    const auto [known, is_new] = seen_.try_emplace(status.name, Seen{status.state});
    Seen& seen = known->second;
    if (is_new) {
      AddLocked({{"event", "replica"}, {"replica", status.name}, {"change", "added"}});
    }
    if (is_new || seen.state != status.state) {
      Json event = {{"event", "state"},
                    {"replica", status.name},
                    {"state", NameOf(status.state)},
                    {"cut", status.applied.epoch.number()}};
      if (!is_new) event["before"] = NameOf(seen.state);
      if (!status.error.empty()) event["error"] = status.error;
      AddLocked(std::move(event));
    }
    seen.state = status.state;
    const bool is_late = status.lag_seconds > kLagThreshold;
    if (std::exchange(seen.is_late, is_late) != is_late) {
      AddLocked({{"event", "lag"},
                 {"replica", status.name},
                 {"lag_seconds", status.lag_seconds},
                 {"over", is_late}});
    }
  }
}

Events::Read Events::Wait(uint64_t from, CondVar::Clock::time_point deadline) {
  MutexLock lock(mutex_);
  while (!stopping_ && from >= first_ + events_.size() && added_.WaitUntil(mutex_, deadline)) {
  }
  Read read;
  read.stopped = stopping_;
  const uint64_t begin = std::max(from, first_);
  read.next = first_ + events_.size();
  for (uint64_t at = begin; at < read.next; ++at) read.events.push_back(events_[at - first_]);
  return read;
}

uint64_t Events::next() {
  MutexLock lock(mutex_);
  return first_ + events_.size();
}

void Events::Stop() {
  MutexLock lock(mutex_);
  stopping_ = true;
  added_.NotifyAll();
}

}  // namespace tandem::tools
