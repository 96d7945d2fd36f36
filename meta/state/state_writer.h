// Writes the state database in group commits. A thread that calls Do while no other thread is
// writing runs its own job and all jobs queued by then, in order of arrival, in one transaction (as
// LevelDB's writers do). So a job that is alone costs no switch to another thread.
//
// Any thread, but with no lock of the tracker held: Do may run the jobs of other threads, which
// take those locks.
#pragma once

#include <functional>
#include <utility>

#include "meta/base/mutex.h"
#include "meta/base/result.h"
#include "meta/state/state_database.h"

namespace tandem::meta {

class StateWriter {
 public:
  // Runs inside a transaction. If it returns an error, the whole group is rolled back.
  using Job = std::function<Status(StateDatabase&)>;

  explicit StateWriter(StateDatabase database) : database_(std::move(database)) {}
  StateWriter(const StateWriter&) = delete;
  StateWriter& operator=(const StateWriter&) = delete;

  // What a commit must survive: `kill -9` of the process, or a power cut. If one job of a group
  // asks for kPowerCut, the whole group gets it.
  enum class Durability { kKill, kPowerCut };

  // Returns once the job is committed or its group has failed. `job` may run on any thread that is
  // in Do. A job that is passed to Do after another job has begun to run is committed together with
  // that one or after it, never before.
  Status Do(const Job& job, Durability durability = Durability::kKill) EXCLUDES(mutex_);

 private:
  struct Waiting {
    const Job& job;
    const Durability durability;
    Waiting* next = nullptr;  // in the queue
    bool finished = false;
    Status status;
    CondVar turn;  // notified when finished, or when first in the queue
  };
  // The part of the queue that is being written. It does not change meanwhile.
  struct Group {
    Waiting* first;
    Waiting* last;
  };

  // Waits while another connection, which can only be the checkpointer's, holds the writer's lock.
  // On a slow disk that is longer than SQLite's busy timeout.
  Result<Transaction> BeginTransaction();
  Status RunGroup(Group group) noexcept;
  Status RunInTransaction(Group group);
  Status CommitJobs(Group group);
  void Finish(Group group, const Status& status) EXCLUDES(mutex_);

  // Used only by the thread that is first in the queue.
  StateDatabase database_;
  Mutex mutex_;
  // The queue. Each element is on the stack of its thread.
  Waiting* first_ GUARDED_BY(mutex_) = nullptr;
  Waiting* last_ GUARDED_BY(mutex_) = nullptr;
};

}  // namespace tandem::meta
