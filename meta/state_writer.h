// The one thread that writes the state database. Jobs given to it are run in order and committed in
// groups: all that waited while the last commit ran share the next one.
//
// Do and Post may be called from any thread, with no lock of the tracker held. Jobs run on the
// writer thread.
#pragma once

#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "meta/base/mutex.h"
#include "meta/base/result.h"
#include "meta/state_database.h"

namespace tandem::meta {

class StateWriter {
 public:
  // Runs inside a transaction; an error rolls the whole group back.
  using Job = std::function<Status(StateDatabase&)>;
  // Learns whether the job is committed. Runs on the writer thread, must not wait.
  using Done = std::function<void(const Status&)>;

  explicit StateWriter(StateDatabase database);
  ~StateWriter();  // runs what is queued, then stops
  StateWriter(const StateWriter&) = delete;
  StateWriter& operator=(const StateWriter&) = delete;

  // What a commit survives. The dearer one is bought for a whole group if one of its jobs wants it.
  enum class Durability { kKill, kPowerCut };

  void Post(Job job, Done done, Durability durability = Durability::kKill) EXCLUDES(mutex_);
  // Post, and wait until it is committed.
  Status Do(Job job, Durability durability = Durability::kKill) EXCLUDES(mutex_);

 private:
  struct Queued {
    Job job;
    Done done;
    Durability durability;
  };

  void Run();
  Status RunGroup(std::vector<Queued>& group);
  Status RunInTransaction(std::vector<Queued>& group);
  Status CommitJobs(std::vector<Queued>& group);

  StateDatabase database_;
  Mutex mutex_;
  CondVar wake_;
  std::vector<Queued> queue_ GUARDED_BY(mutex_);
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

// Moves the write-ahead log into the database file every now and then, on a thread and connection
// of its own, so that no commit ever waits for it.
class Checkpointer {
 public:
  static Result<std::unique_ptr<Checkpointer>> Start(const std::string& directory);
  ~Checkpointer();

 private:
  explicit Checkpointer(Database database);
  void Run();
  Result<int> MoveLog();  // its length in pages

  Database database_;
  Mutex mutex_;
  CondVar wake_;
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace tandem::meta
