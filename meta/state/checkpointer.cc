#include "meta/state/checkpointer.h"

#include <chrono>
#include <utility>

#include "meta/base/log.h"
#include "meta/state/tuning.h"

namespace tandem::meta {
Result<std::unique_ptr<Checkpointer>> Checkpointer::Start(const std::string& directory) {
  ASSIGN_OR_RETURN(Database database,
                   Database::Open(directory + "/state.db", Database::Sync::kNormal));
  return std::unique_ptr<Checkpointer>(new Checkpointer(std::move(database)));
}

Checkpointer::Checkpointer(Database database)
    : database_(std::move(database)), thread_([this] { Run(); }) {}

Checkpointer::~Checkpointer() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    wake_.NotifyOne();
  }
  thread_.join();
}

void Checkpointer::Run() {
  auto pause = kCheckpointPause;
  int last_pages = 0;
  int unchanged = 0;  // looks in a row that found it as long as the one before
  while (true) {
    {
      const auto next = CondVar::Clock::now() + pause;
      MutexLock lock(mutex_);
      while (!stopping_ && wake_.WaitUntil(mutex_, next)) {
      }
      if (stopping_) return;
    }
    const auto pages = MoveLog();
    if (!pages) {
      LogWarning("{}", pages.error().ToString());
      pause = kCheckpointPause;
      continue;
    }
    // The log keeps its length when all of it has been moved, until something else is written. (It
    // may have begun anew, and come to the same length.)
    unchanged = *pages == last_pages ? unchanged + 1 : 0;
    const bool is_idle = unchanged >= kLooksUntilIdle;
    last_pages = *pages;
    pause = is_idle                  ? kIdleCheckpointPause
            : *pages > kBusyLogPages ? kBusyCheckpointPause
                                     : kCheckpointPause;
  }
}

Result<int> Checkpointer::MoveLog() {
  using Mode = Database::CheckpointMode;
  ASSIGN_OR_RETURN(const int pages, database_.Checkpoint(Mode::kPassive));
  if (pages < kLongLogPages) return pages;
  // If writers never pause, the log grows without bound. So move nearly everything first, then
  // block the writers while the little that was added since is moved.
  RETURN_IF_ERROR(database_.Checkpoint(Mode::kPassive));
  return database_.Checkpoint(Mode::kRestart);
}

}  // namespace tandem::meta
