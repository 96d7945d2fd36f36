#include "tools/web/verify_watch.h"

#include <algorithm>

namespace tandem::tools {
namespace {

constexpr int kAnswerMs = 5000;
// So many differences are shown; the page says how many more there are.
constexpr size_t kShownDifferences = 100;

}  // namespace

Status VerifyWatch::Start(const std::string& mount, const std::string& socket,
                          const Json& request) {
  ASSIGN_OR_RETURN(const Json started, AskControl(socket, request, kAnswerMs));
  const Json jobs = started.value("jobs", Json::array());
  if (jobs.empty()) return MakeError(ErrorKind::kRefused, "verify: this mount has no replica");
  MutexLock lock(mutex_);
  for (const Json& one : jobs) {
    Job job;
    job.mount = mount;
    job.socket = socket;
    job.replica = one.value("replica", "");
    job.id = one.value("job", int64_t{0});
    job.repairs = request.value("repair", false);
    job.began = Clock::now();
    job.last["full"] = request.value("full", false);
    std::erase_if(jobs_, [&job](const Job& former) {
      return former.finished && former.mount == job.mount && former.replica == job.replica;
    });
    jobs_.push_back(std::move(job));
  }
  return {};
}

Status VerifyWatch::Stop(const std::string& mount, int64_t job) {
  std::string socket;
  {
    MutexLock lock(mutex_);
    const auto found = std::ranges::find_if(
        jobs_, [&](const Job& one) { return one.mount == mount && one.id == job; });
    if (found == jobs_.end()) return MakeError(ErrorKind::kUsage, "this verify is not known");
    if (found->finished) {
      jobs_.erase(found);
      return {};
    }
    found->finished = found->stopped = true;
    found->ended = Clock::now();
    socket = found->socket;
  }
  ASSIGN_OR_RETURN(const Json stopped,
                   AskControl(socket, {{"op", "verify-stop"}, {"job", job}}, kAnswerMs));
  (void)stopped;
  return {};
}

bool VerifyWatch::IsRunning() {
  MutexLock lock(mutex_);
  return std::ranges::any_of(jobs_, [](const Job& job) { return !job.finished; });
}

void VerifyWatch::PollOne(Job& job) {
  Json request = {{"op", "verify-poll"},
                  {"job", job.id},
                  {"jobs", std::vector<int64_t>{job.id}},
                  {"skip", 0},
                  // Only its end tells of a repair whether it worked.
                  {"limit", job.repairs ? 0 : kShownDifferences}};
  auto poll = AskControl(job.socket, request, kAnswerMs);
  if (poll && poll->value("finished", false)) {
    request["limit"] = kShownDifferences;
    poll = AskControl(job.socket, request, kAnswerMs);
    // If that fails, tandemfs forgets it by itself in time.
    (void)AskControl(job.socket, {{"op", "verify-stop"}, {"job", job.id}}, kAnswerMs);
  }
  if (poll) {
    job.last = *poll;
    job.finished = poll->value("finished", false);
  } else {
    job.last["failure"] = poll.error().ToString();
    job.finished = true;
  }
  if (job.finished) job.ended = Clock::now();
}

void VerifyWatch::Poll() {
  std::vector<Job> running;
  {
    MutexLock lock(mutex_);
    std::ranges::copy_if(jobs_, std::back_inserter(running),
                         [](const Job& job) { return !job.finished; });
  }
  for (Job& job : running) PollOne(job);
  MutexLock lock(mutex_);
  for (Job& job : running) {
    const auto same = std::ranges::find_if(jobs_, [&job](const Job& one) {
      return one.mount == job.mount && one.id == job.id && !one.finished;
    });
    if (same != jobs_.end()) *same = std::move(job);
  }
}

Json VerifyWatch::Of(const std::string& mount) {
  Json all = Json::array();
  MutexLock lock(mutex_);
  for (const Job& job : jobs_) {
    if (job.mount != mount) continue;
    Json one = job.last;
    one["job"] = job.id;
    one["replica"] = job.replica;
    one["repair"] = job.repairs;
    one["finished"] = job.finished;
    one["stopped"] = job.stopped;
    const auto until = job.finished ? job.ended : Clock::now();
    one["seconds"] = std::chrono::duration<double>(until - job.began).count();
    all.push_back(std::move(one));
  }
  return all;
}

}  // namespace tandem::tools
