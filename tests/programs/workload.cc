// workload: seeded random file operations against a directory. This file
// starts the processes and threads and adds up what they report; one thread's
// work is in lib/workload_worker.cc, the operations in lib/workload_ops_*.cc.
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "tests/programs/lib/bus_guard.h"
#include "tests/programs/lib/fd.h"
#include "tests/programs/lib/workload_config.h"
#include "tests/programs/lib/workload_ops.h"
#include "tests/programs/lib/workload_worker.h"

namespace tandem::workload {
namespace {

enum ExitCode : int {
  kAsExpected = 0,
  kUnexpectedErrors = 1,
  kCouldNotRun = 2,
  kDisconnected = 3,
};

int Complain(const char* what, const char* name) {
  std::fprintf(stderr, "workload: %s %s: %s\n", what, name, std::strerror(errno));
  return kCouldNotRun;
}

// In memory that the processes share, which lasts until the program ends.
template <typename T>
std::span<T> AllocateShared(size_t count) {
  void* memory =
      mmap(nullptr, count * sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return {};
  T* first = static_cast<T*>(memory);
  std::uninitialized_value_construct_n(first, count);
  return {first, count};
}

struct Shared {
  std::span<std::atomic<bool>> stop;  // One.
  std::span<WorkerReport> reports;    // One a worker.

  bool ok() const { return !stop.empty() && !reports.empty(); }
  void Stop() const { stop[0] = true; }
};

// Walking a deep tree keeps a descriptor open for each level.
void AllowManyDescriptors() {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

void RunProcess(const Config& config, int process, int log_fd, const Shared& shared) {
  std::vector<std::thread> threads;
  threads.reserve(config.threads);
  for (int thread = 0; thread < config.threads; ++thread) {
    threads.emplace_back([=, &config, &shared] {
      WorkerReport& report = shared.reports[process * config.threads + thread];
      RunWorker(config, process, thread, log_fd, shared.stop[0], &report);
      if (report.disconnected) shared.Stop();
    });
  }
  for (std::thread& thread : threads) thread.join();
}

// Does not outlive the parent, and leaves its signals to it.
pid_t StartProcess(const Config& config, int process, int log_fd, const Shared& shared) {
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid != 0) return pid;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() == parent) RunProcess(config, process, log_fd, shared);
  _exit(0);
}

timespec Deadline(const Config& config) {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  now.tv_sec += static_cast<time_t>(config.seconds.value_or(0));
  return now;
}

// Until the deadline or a signal to stop, or until no process is left.
// `signals` are blocked. True if every process ended by itself.
bool Supervise(const Config& config, const sigset_t& signals, int processes, const Shared& shared) {
  const timespec deadline = Deadline(config);
  bool all_well = true;
  while (processes > 0) {
    const timespec tick = {0, 50'000'000};
    const int signal_number = sigtimedwait(&signals, nullptr, &tick);
    if (signal_number == SIGTERM || signal_number == SIGINT) shared.Stop();

    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    const bool late = now.tv_sec > deadline.tv_sec ||
                      (now.tv_sec == deadline.tv_sec && now.tv_nsec >= deadline.tv_nsec);
    if (config.seconds && late) shared.Stop();

    int status = 0;
    while (processes > 0 && waitpid(-1, &status, WNOHANG) > 0) {
      --processes;
      if (status == 0) continue;
      std::fprintf(stderr, "workload: a process ended with status %d\n", status);
      all_well = false;
    }
  }
  return all_well;
}

void PrintSummary(const Config& config, const WorkerReport& sum) {
  OpCount all;
  std::string line;
  for (size_t i = 0; i < AllOps().size(); ++i) {
    const OpCount& count = sum.ops[i];
    all.succeeded += count.succeeded;
    all.failed += count.failed;
    line += std::string(" ") + AllOps()[i].name + "=" + std::to_string(count.succeeded) + "/" +
            std::to_string(count.failed);
  }
  std::printf("workload: seed=%" PRIu64 " succeeded=%" PRIu64 " failed=%" PRIu64
              " unexpected=%" PRIu64 "%s |%s\n",
              config.seed, all.succeeded, all.failed, sum.unexpected,
              sum.disconnected ? " disconnected" : "", line.c_str());
}

WorkerReport Sum(std::span<const WorkerReport> reports) {
  WorkerReport sum;
  for (const WorkerReport& report : reports) {
    for (size_t i = 0; i < AllOps().size(); ++i) {
      sum.ops[i].succeeded += report.ops[i].succeeded;
      sum.ops[i].failed += report.ops[i].failed;
    }
    sum.unexpected += report.unexpected;
    sum.disconnected |= report.disconnected;
  }
  return sum;
}

int Run(const Config& config, int log_fd) {
  static_assert(std::atomic<bool>::is_always_lock_free);
  const Shared shared = {AllocateShared<std::atomic<bool>>(1),
                         AllocateShared<WorkerReport>(config.workers())};
  if (!shared.ok()) return Complain("cannot allocate", "shared memory");

  std::printf("workload: seed=%" PRIu64 " directory=%s\n", config.seed, config.directory.c_str());
  std::fflush(stdout);

  sigset_t signals;
  sigemptyset(&signals);
  for (int number : {SIGTERM, SIGINT, SIGCHLD}) sigaddset(&signals, number);
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  programs::InstallBusGuard();

  int started = 0;
  while (started < config.processes && StartProcess(config, started, log_fd, shared) > 0) {
    ++started;
  }
  const bool all_started = started == config.processes;
  if (!all_started) {
    Complain("cannot start", "a process");
    shared.Stop();
  }
  const bool all_well = Supervise(config, signals, started, shared) && all_started;

  const WorkerReport sum = Sum(shared.reports);
  PrintSummary(config, sum);
  if (sum.unexpected > 0) return kUnexpectedErrors;
  if (sum.disconnected) return kDisconnected;
  return all_well ? kAsExpected : kCouldNotRun;
}

int Main(int argc, char** argv) {
  const auto config = ParseConfig(argc, argv);
  if (!config) return kCouldNotRun;
  if (AllOps().size() > WorkerReport::kMaxOps) {
    std::fputs("workload: more operations than WorkerReport holds\n", stderr);
    return kCouldNotRun;
  }
  if (OpChooser(*config).empty()) {
    std::fputs("workload: the operations chosen need root\n", stderr);
    return kCouldNotRun;
  }

  programs::Fd log;
  if (!config->log.empty()) {
    log = programs::Fd(open(config->log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
    if (!log.ok()) return Complain("cannot open", config->log.c_str());
  }
  // All paths are relative from here on: should the mount go away, they go on
  // meaning the mount and never the directory beneath it.
  if (chdir(config->directory.c_str()) != 0) {
    return Complain("cannot enter", config->directory.c_str());
  }
  umask(022);
  AllowManyDescriptors();
  return Run(*config, log.get());
}

}  // namespace
}  // namespace tandem::workload

int main(int argc, char** argv) { return tandem::workload::Main(argc, argv); }
