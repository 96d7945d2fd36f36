// Work that other threads have done on a sender's thread, between two cuts.
//
// Any thread. Nothing else is locked while the mutex is held.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "meta/base/mutex.h"
#include "meta/base/result.h"
#include "replica/source/peer.h"
#include "replica/wire/messages.h"

namespace tandem::replica {

class SenderTasks {
 public:
  // `position` is what the tree of the replica holds.
  using Task = std::function<Status(Peer& peer, const Position& position)>;

  // `wake` makes the sender's thread look for tasks.
  explicit SenderTasks(std::function<void()> wake) : wake_(std::move(wake)) {}

  // Has `task` done and returns its result. Returns nullopt if it has not begun by the deadline,
  // and never will; waits for its end if it has. Returns kCancelled after Stop.
  std::optional<Status> Run(Task task, CondVar::Clock::time_point deadline) EXCLUDES(mutex_);

  // ---- The sender's thread
  // Does all tasks that wait, with `perform`, which is given each.
  void PerformAll(const std::function<Status(const Task& task)>& perform) EXCLUDES(mutex_);
  // No task begins any more.
  void Stop() EXCLUDES(mutex_);

 private:
  struct Queued {
    Task task;
    bool started = false;
    bool finished = false;
    Status status;
  };

  const std::function<void()> wake_;
  Mutex mutex_;
  CondVar changed_;
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::vector<std::shared_ptr<Queued>> queue_ GUARDED_BY(mutex_);
};

}  // namespace tandem::replica
