#include "replica/source/sender_tasks.h"

#include <chrono>
#include <utility>

namespace tandem::replica {

std::optional<Status> SenderTasks::Run(Task task, CondVar::Clock::time_point deadline) {
  auto queued = std::make_shared<Queued>();
  queued->task = std::move(task);
  {
    MutexLock lock(mutex_);
    queue_.push_back(queued);
  }
  wake_();
  MutexLock lock(mutex_);
  while (!queued->finished && (queued->started || !stopping_)) {
    const bool in_time = changed_.WaitUntil(mutex_, deadline);
    if (!in_time && !queued->started) {
      std::erase(queue_, queued);
      return std::nullopt;
    }
    if (!in_time) deadline += std::chrono::seconds(1);  // it is running: wait for its end
  }
  if (!queued->finished) {
    std::erase(queue_, queued);
    return MakeError(ErrorKind::kCancelled, "stopping");
  }
  return std::move(queued->status);
}

void SenderTasks::PerformAll(const std::function<Status(const Task& task)>& perform) {
  while (true) {
    std::shared_ptr<Queued> next;
    {
      MutexLock lock(mutex_);
      if (queue_.empty()) return;
      next = queue_.front();
      queue_.erase(queue_.begin());
      next->started = true;
    }
    Status status = perform(next->task);
    MutexLock lock(mutex_);
    next->status = std::move(status);
    next->finished = true;
    changed_.NotifyAll();
  }
}

void SenderTasks::Stop() {
  MutexLock lock(mutex_);
  stopping_ = true;
  changed_.NotifyAll();
}

}  // namespace tandem::replica
