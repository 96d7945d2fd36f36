#include "tests/programs/lib/workload_worker.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>

#include "tests/programs/lib/workload_tree.h"

namespace tandem::workload {
namespace {

class Worker {
 public:
  Worker(const Config& config, int process, int thread, int log_fd, WorkerReport* report)
      : config_(config),
        actor_(&config, process, thread),
        chooser_(config),
        prunes_shared_area_(process == 0 && thread == 0),
        log_fd_(log_fd),
        report_(report) {}

  void Run(const std::atomic<bool>& stop) {
    const uint64_t end = config_.ops_per_thread.value_or(UINT64_MAX);
    MakeAreas();
    for (uint64_t index = 1; index <= end && !stop && CanGoOn(); ++index) {
      RunOp(index);
      if (index % kPruneEvery == 0) Prune(index);
    }
  }

 private:
  static constexpr uint64_t kPruneEvery = 256;

  bool CanGoOn() const { return !actor_.disconnected(); }

  void MakeAreas() {
    for (const Path& area : {SharedArea(), actor_.own_area()}) {
      actor_.Begin(0);
      actor_.Note("mkdir", area);
      actor_.Try("mkdir", mkdir(area.bytes.c_str(), 0755));
      Conclude(nullptr);
    }
  }

  void RunOp(uint64_t index) {
    actor_.Begin(index);
    const size_t chosen = chooser_.Choose(&actor_.random());
    const Op& op = AllOps()[chosen];
    actor_.Note(op.name);
    op.run(actor_);
    Conclude(&report_->ops[chosen]);
  }

  // Keeps the tree within its bounds.
  void Prune(uint64_t index) {
    const uint64_t areas = config_.workers() + 1;
    const Usage limits = {config_.max_objects / areas, config_.max_total_bytes / areas};
    actor_.Begin(index);
    actor_.Note("prune");
    EnforceLimits(actor_, actor_.own_area(), limits);
    if (prunes_shared_area_) {
      EnforceLimits(actor_, SharedArea(), limits);
      RemoveStrays(actor_);
    }
    Conclude(nullptr);
  }

  void Conclude(OpCount* count) {
    if (log_fd_ >= 0) WriteLine(log_fd_, actor_.Description());
    if (actor_.disconnected()) report_->disconnected = true;
    if (actor_.first_unexpected()) {
      const bool quiet = actor_.disconnected() && config_.tolerate_disconnect;
      if (!quiet) ReportUnexpected();
    } else if (count) {
      (actor_.first_failure() ? count->failed : count->succeeded) += 1;
    }
  }

  void ReportUnexpected() {
    constexpr uint64_t kMaxPrinted = 20;
    if (++report_->unexpected > kMaxPrinted) return;
    WriteLine(STDERR_FILENO, "workload: unexpected " + actor_.first_unexpected()->Text() + ": " +
                                 actor_.Description());
  }

  // In one call, so that lines of different workers do not mix.
  static void WriteLine(int fd, std::string line) {
    line += '\n';
    if (write(fd, line.data(), line.size()) < 0) std::perror("workload: log");
  }

  const Config& config_;
  Actor actor_;
  const OpChooser chooser_;
  const bool prunes_shared_area_;
  const int log_fd_;
  WorkerReport* report_;
};

}  // namespace

void RunWorker(const Config& config, int process, int thread, int log_fd,
               const std::atomic<bool>& stop, WorkerReport* report) {
  Worker(config, process, thread, log_fd, report).Run(stop);
}

}  // namespace tandem::workload
