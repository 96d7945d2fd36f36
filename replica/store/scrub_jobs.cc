#include "replica/store/scrub_jobs.h"

#include <algorithm>
#include <utility>

#include "replica/store/tuning.h"

namespace tandem::replica {
namespace {

tl::unexpected<Error> NoSuchJob() {
  return MakeError(ErrorKind::kProtocol, "find a scrub (it has ended, or was forgotten)", ENOENT);
}

}  // namespace

void ScrubJobs::Stop(Job job) {
  job.scrubber->Stop();
  job.thread.join();
}

ScrubJobs::~ScrubJobs() {
  std::map<Id, Job> jobs;
  {
    MutexLock lock(mutex_);
    jobs = std::exchange(jobs_, {});
  }
  for (auto& [id, job] : jobs) job.scrubber->Stop();
  for (auto& [id, job] : jobs) job.thread.join();
}

Result<ScrubJobs::Id> ScrubJobs::Start(const VolumeKey& key, const ScrubOptions& options) {
  ASSIGN_OR_RETURN(auto volume, store_.OpenForScrub(key));
  std::optional<Job> forgotten;
  Id id = 0;
  {
    MutexLock lock(mutex_);
    const auto now = CondVar::Clock::now();
    const auto same =
        std::ranges::find_if(jobs_, [&](const auto& job) { return job.second.key == key; });
    if (same != jobs_.end()) {
      const bool finished = same->second.scrubber->report(0, 0).finished;
      if (!finished && now - same->second.asked < kScrubForgotten) {
        return MakeError(ErrorKind::kRefused,
                         "scrub volume " + key.ToString() +
                             " (it is being scrubbed already: wait until that has ended)",
                         EBUSY);
      }
      forgotten = std::move(same->second);
      jobs_.erase(same);
    }
    Job job{key, std::move(volume), nullptr, {}, now};
    job.scrubber = job.volume->NewScrub(options);
    job.thread = std::thread([scrubber = job.scrubber.get()] { scrubber->Run(); });
    id = next_++;
    jobs_.emplace(id, std::move(job));
  }
  if (forgotten) Stop(std::move(*forgotten));
  return id;
}

Result<ScrubReport> ScrubJobs::Report(Id id, size_t skip, size_t limit) {
  MutexLock lock(mutex_);
  const auto job = jobs_.find(id);
  if (job == jobs_.end()) return NoSuchJob();
  job->second.asked = CondVar::Clock::now();
  return job->second.scrubber->report(skip, limit);
}

Status ScrubJobs::End(Id id) {
  std::optional<Job> ended;
  {
    MutexLock lock(mutex_);
    const auto job = jobs_.find(id);
    if (job == jobs_.end()) return NoSuchJob();
    ended = std::move(job->second);
    jobs_.erase(job);
  }
  Stop(std::move(*ended));
  return {};
}

}  // namespace tandem::replica
