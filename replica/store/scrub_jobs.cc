#include "replica/store/scrub_jobs.h"

#include <utility>
#include <vector>

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
  std::vector<Job> forgotten;
  Id id = 0;
  {
    MutexLock lock(mutex_);
    const auto now = CondVar::Clock::now();
    const auto is_forgotten = [&](const Job& job) { return now - job.asked >= kScrubForgotten; };
    for (const auto& [other, job] : jobs_) {
      if (job.key != key || is_forgotten(job) || job.scrubber->report(0, 0).finished) continue;
      return MakeError(ErrorKind::kRefused,
                       "scrub volume " + key.ToString() +
                           " (it is being scrubbed already: wait until that has ended)",
                       EBUSY);
    }
    // A scrub of this volume has ended, or nobody waits for it.
    for (auto job = jobs_.begin(); job != jobs_.end();) {
      const bool goes = job->second.key == key || is_forgotten(job->second);
      if (goes) forgotten.push_back(std::move(job->second));
      job = goes ? jobs_.erase(job) : std::next(job);
    }
    Job job{key, std::move(volume), nullptr, {}, now};
    job.scrubber = job.volume->NewScrub(options);
    job.thread = std::thread([scrubber = job.scrubber.get()] { scrubber->Run(); });
    id = next_++;
    jobs_.emplace(id, std::move(job));
  }
  for (Job& job : forgotten) Stop(std::move(job));
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
