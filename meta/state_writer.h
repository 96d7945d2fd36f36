// Writes the state database, in group commits: whoever finds nobody writing runs its own job and
// those that wait by then, in the order in which they came, in one transaction (as LevelDB's
// writers do). So a job that is alone costs no switch to another thread.
//
// Any thread, with no lock of the tracker held: Do may run the jobs of others, which take them.
#pragma once

#include <functional>
#include <utility>

#include "meta/base/mutex.h"
#include "meta/base/result.h"
#include "meta/state_database.h"

namespace tandem::meta {

class StateWriter {
 public:
  // Runs inside a transaction; an error rolls the whole group back.
  using Job = std::function<Status(StateDatabase&)>;

  explicit StateWriter(StateDatabase database) : database_(std::move(database)) {}
  StateWriter(const StateWriter&) = delete;
  StateWriter& operator=(const StateWriter&) = delete;

  // What a commit survives. The dearer one is bought for a whole group if one of its jobs wants it.
  enum class Durability { kKill, kPowerCut };

  // Returns once the job is committed, or has failed with its group. `job` may run on any thread
  // that is in Do. A job that is given to Do after another has begun to run is committed with it
  // or after it, never before.
  Status Do(const Job& job, Durability durability = Durability::kKill) EXCLUDES(mutex_);

 private:
  struct Waiting {
    const Job& job;
    const Durability durability;
    Waiting* next = nullptr;  // in the queue
    bool finished = false;
    Status status;
    CondVar turn;  // finished, or first in the queue
  };
  // A part of the queue that stays as it is while it is written.
  struct Group {
    Waiting* first;
    Waiting* last;
  };

  // Waits while another connection, which can only be the checkpointer's, holds the writer's lock:
  // on a slow disk longer than SQLite would.
  Result<Transaction> BeginTransaction();
  Status RunGroup(Group group) noexcept;
  Status RunInTransaction(Group group);
  Status CommitJobs(Group group);
  void Finish(Group group, const Status& status) EXCLUDES(mutex_);

  // Belongs to whoever is first in the queue.
  StateDatabase database_;
  Mutex mutex_;
  // Each stands on the stack of the thread that waits.
  Waiting* first_ GUARDED_BY(mutex_) = nullptr;
  Waiting* last_ GUARDED_BY(mutex_) = nullptr;
};

}  // namespace tandem::meta
