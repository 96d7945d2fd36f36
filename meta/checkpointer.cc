#include "meta/checkpointer.h"

#include <chrono>
#include <utility>

#include "meta/base/log.h"

namespace tandem::meta {
namespace {

// How often the log is looked at, and while it has more than so many pages (of 4 KiB).
constexpr std::chrono::milliseconds kPause{2000};
constexpr std::chrono::milliseconds kBusyPause{100};
constexpr int kBusyPages = 1024;
constexpr int kLongLogPages = 8192;

}  // namespace

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
  auto next = CondVar::Clock::now() + kPause;
  while (true) {
    {
      MutexLock lock(mutex_);
      while (!stopping_ && wake_.WaitUntil(mutex_, next)) {
      }
      if (stopping_) return;
    }
    const auto pages = MoveLog();
    if (!pages) LogWarning("{}", pages.error().ToString());
    next = CondVar::Clock::now() + (pages && *pages > kBusyPages ? kBusyPause : kPause);
  }
}

Result<int> Checkpointer::MoveLog() {
  using Mode = Database::CheckpointMode;
  ASSIGN_OR_RETURN(const int pages, database_.Checkpoint(Mode::kPassive));
  if (pages < kLongLogPages) return pages;
  // A writer that never pauses would make the log longer and longer: once nearly everything is
  // moved, it is held up for the little that has come since.
  RETURN_IF_ERROR(database_.Checkpoint(Mode::kPassive));
  return database_.Checkpoint(Mode::kRestart);
}

}  // namespace tandem::meta
