#include "meta/base/cpu_priority.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <system_error>
#include <thread>

#include "meta/base/unique_fd.h"

namespace tandem {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kNice = 10;
// A thread was kept waiting if it waited this long, and so many times as long as it ran.
constexpr int64_t kLongWaitNs = 100'000'000;
constexpr int64_t kManyTimes = 8;
constexpr std::chrono::seconds kNiceFor{20};

std::atomic<Clock::time_point> nice_until{Clock::time_point::min()};

}  // namespace

// proc_pid_schedstat: nanoseconds on a processor, nanoseconds waiting for one, time slices.
bool LowCpuPriority::Read(Times& times) {
  const UniqueFd fd(open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC));
  std::array<char, 128> text{};
  if (!fd.valid() || read(fd.get(), text.data(), text.size() - 1) <= 0) return false;
  long long running = 0;
  long long waiting = 0;
  if (std::sscanf(text.data(), "%lld %lld", &running, &waiting) != 2) return false;
  times = {running, waiting};
  return true;
}

LowCpuPriority::LowCpuPriority(bool may_be_idle) {
  // On Linux both are of the calling thread.
  (void)setpriority(PRIO_PROCESS, 0, kNice);
  if (!may_be_idle || Clock::now() < nice_until.load() || !Read(before_)) return;
  const sched_param none = {};
  is_idle_ = sched_setscheduler(0, SCHED_IDLE, &none) == 0;
}

LowCpuPriority::~LowCpuPriority() {
  Times now;
  if (!is_idle_ || !Read(now)) return;
  const int64_t waited = now.waiting_ns - before_.waiting_ns;
  const bool kept_waiting =
      waited > kLongWaitNs && waited > kManyTimes * (now.running_ns - before_.running_ns);
  if (kept_waiting) nice_until = Clock::now() + kNiceFor;
}

void RunAtLowCpuPriority(const std::function<void()>& work) {
  std::thread thread;
  try {
    thread = std::thread([&work] {
      const LowCpuPriority low;
      work();
    });
  } catch (const std::system_error&) {
    work();
    return;
  }
  thread.join();
}

}  // namespace tandem
