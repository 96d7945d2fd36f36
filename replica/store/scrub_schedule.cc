#include "replica/store/scrub_schedule.h"

#include <algorithm>
#include <ctime>
#include <exception>

#include "meta/base/log.h"
#include "replica/store/tuning.h"
#include "replica/wire/chunk_payload.h"

namespace tandem::replica {

ScrubSchedule::ScrubSchedule(Store& store, ScrubJobs& jobs, const Options& options)
    : store_(store), jobs_(jobs), options_(options), thread_([this] { Run(); }) {}

ScrubSchedule::~ScrubSchedule() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    stopped_.NotifyAll();
  }
  thread_.join();
}

bool ScrubSchedule::Sleep(CondVar::Clock::duration time) {
  const auto deadline = CondVar::Clock::now() + time;
  MutexLock lock(mutex_);
  while (!stopping_ && stopped_.WaitUntil(mutex_, deadline)) {
  }
  return !stopping_;
}

void ScrubSchedule::Run() {
  const auto longest = std::clamp(options_.every / 30, kScrubLook, kScrubLookLongest);
  std::chrono::seconds pause = kScrubLook;
  while (Sleep(pause)) {
    try {
      const auto key = FindDue();
      pause = key || has_more_ ? kScrubLook : longest;
      if (!key) continue;
      due_.erase(*key);
      // What holds it up may last; the others have their turn.
      if (!Scrub(*key)) {
        due_[*key] = std::time(nullptr) + RetryTime();
      }
    } catch (const std::exception& e) {
      LogError("scrub: {}", e.what());
    }
  }
}

int64_t ScrubSchedule::DueAt(const VolumeKey& key, int64_t made, std::optional<int64_t> scrubbed,
                             std::chrono::seconds every) {
  if (scrubbed) return *scrubbed + every.count();
  constexpr double kParts = 65536;
  const double part = static_cast<double>(ChecksumOf(key.ToString()) % 65536) / kParts;
  return made + static_cast<int64_t>(part * static_cast<double>(every.count()));
}

Result<int64_t> ScrubSchedule::DueAt(const VolumeKey& key) {
  ASSIGN_OR_RETURN(const auto volume, store_.OpenForScrub(key));
  ASSIGN_OR_RETURN(const auto scrubbed, volume->ScrubbedAt());
  return DueAt(key, volume->MadeAt(), scrubbed, options_.every);
}

int64_t ScrubSchedule::RetryTime() const { return std::min(kScrubRetry, options_.every).count(); }

std::optional<VolumeKey> ScrubSchedule::FindDue() {
  const int64_t now = std::time(nullptr);
  std::optional<VolumeKey> first;
  size_t opened = 0;
  has_more_ = false;
  for (const VolumeKey& key : store_.Volumes()) {
    if (!due_.contains(key)) {
      has_more_ |= opened == kMostOpenedByLook;
      if (opened == kMostOpenedByLook || look_again_[key] > now) continue;
      ++opened;
      const auto due = DueAt(key);
      if (!due) {
        look_again_[key] = now + RetryTime();  // its source is told why it cannot be opened
        continue;
      }
      due_[key] = *due;
    }
    if (due_[key] <= now && (!first || due_[key] < due_[*first])) first = key;
  }
  return first;
}

bool ScrubSchedule::Scrub(const VolumeKey& key) {
  const std::string name = key.ToString();
  const auto job = jobs_.Start(key, options_.scrub);
  if (!job) {
    LogWarning("volume {}: {}", name, job.error().ToString());
    return false;
  }
  LogInfo("volume {}: scrub begins", name);
  auto report = jobs_.Report(*job, 0, 0);
  while (report && !report->finished && Sleep(kScrubLook)) report = jobs_.Report(*job, 0, 0);
  (void)jobs_.End(*job);
  if (!report || !report->finished) return false;
  if (!report->error.empty()) {
    LogWarning("volume {}: scrub: could not run to the end: {}", name, report->error);
    return false;
  }
  const std::string unknown =
      report->unknown_bytes == 0
          ? ""
          : ", of which " + std::to_string(report->unknown_bytes) + " have no digest";
  if (report->difference_count == 0) {
    LogInfo("volume {}: scrub: no damage found ({} objects, {} bytes of content{})", name,
            report->objects, report->bytes, unknown);
  } else {
    LogError(
        "volume {}: scrub: {} differences ({} objects, {} bytes of content{}): see the lines "
        "above; the source sends them again",
        name, report->difference_count, report->objects, report->bytes, unknown);
  }
  return true;
}

}  // namespace tandem::replica
