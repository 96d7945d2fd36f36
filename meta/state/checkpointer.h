// Checkpoints the state database. Any thread may start and destroy it.
#pragma once

#include <memory>
#include <string>
#include <thread>

#include "meta/base/database.h"
#include "meta/base/mutex.h"
#include "meta/base/result.h"

namespace tandem::meta {

// Moves the write-ahead log into the database file periodically, on its own thread and connection,
// so that no commit has to do it. Commits wait for a checkpoint only if the log has become long
// (kLongLogPages).
class Checkpointer {
 public:
  static Result<std::unique_ptr<Checkpointer>> Start(const std::string& directory);
  ~Checkpointer();

 private:
  explicit Checkpointer(Database database);
  void Run();
  Result<int> MoveLog();  // returns the log's length in pages

  Database database_;
  Mutex mutex_;
  CondVar wake_;
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace tandem::meta
