// The state database's checkpoints.
#pragma once

#include <memory>
#include <string>
#include <thread>

#include "meta/base/database.h"
#include "meta/base/mutex.h"
#include "meta/base/result.h"

namespace tandem::meta {

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
