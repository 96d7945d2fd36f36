#include "tools/status/history.h"

#include <algorithm>
#include <ctime>
#include <utility>

namespace tandem::tools {
namespace {

constexpr size_t kHourSamples = std::chrono::hours(1) / History::kHourStep;
constexpr size_t kDaySamples = std::chrono::hours(24) / History::kDayStep;
constexpr size_t kRateSamples = std::chrono::minutes(1) / History::kHourStep;

void Append(std::deque<History::Sample>& samples, const History::Sample& sample, size_t most) {
  samples.push_back(sample);
  if (samples.size() > most) samples.pop_front();
}

}  // namespace

History::History(Glance glance, Sampled sampled)
    : sampler_(kHourStep, [this, glance = std::move(glance), sampled = std::move(sampled)] {
        const auto statuses = glance();
        Take(statuses, time(nullptr));
        sampled(statuses);
      }) {}

void History::Take(const std::vector<replica::ReplicaStatus>& statuses, int64_t time) {
  MutexLock lock(mutex_);
  std::erase_if(replicas_, [&](const auto& known) {
    return std::ranges::find(statuses, known.first, &replica::ReplicaStatus::name) ==
           statuses.end();
  });
  for (const replica::ReplicaStatus& status : statuses) {
    OfReplica& known = replicas_[status.name];
    const Sample sample{time, status.lag_seconds, status.sent_bytes, status.pending.bytes};
    Append(known.hour, sample, kHourSamples);
    constexpr auto kStep = std::chrono::duration_cast<std::chrono::seconds>(kDayStep).count();
    if (known.day.empty() || known.day.back().time / kStep != time / kStep) {
      Append(known.day, sample, kDaySamples);
      continue;
    }
    Sample& last = known.day.back();
    last.lag_seconds = std::max(last.lag_seconds, sample.lag_seconds);
    last.pending_bytes = std::max(last.pending_bytes, sample.pending_bytes);
    last.sent_bytes = sample.sent_bytes;
  }
}

History::OfReplica History::Of(const std::string& replica) {
  MutexLock lock(mutex_);
  const auto known = replicas_.find(replica);
  return known == replicas_.end() ? OfReplica() : known->second;
}

History::Summary History::Summarize(const replica::ReplicaStatus& now) {
  Summary summary;
  summary.worst_lag = now.lag_seconds;
  MutexLock lock(mutex_);
  const auto known = replicas_.find(now.name);
  if (known == replicas_.end() || known->second.hour.empty()) return summary;
  const std::deque<Sample>& hour = known->second.hour;
  for (const Sample& sample : hour) {
    summary.worst_lag = std::max(summary.worst_lag, sample.lag_seconds);
  }
  const Sample& first = hour[hour.size() - std::min(hour.size(), kRateSamples + 1)];
  const double seconds = static_cast<double>(time(nullptr) - first.time);
  if (seconds > 0 && now.sent_bytes >= first.sent_bytes) {
    summary.rate = static_cast<double>(now.sent_bytes - first.sent_bytes) / seconds;
  }
  if (summary.rate > 1 && now.pending.bytes > 0) {
    summary.eta = static_cast<double>(now.pending.bytes) / summary.rate;
  }
  return summary;
}

}  // namespace tandem::tools
