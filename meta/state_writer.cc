#include "meta/state_writer.h"

#include <algorithm>
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

StateWriter::StateWriter(StateDatabase database)
    : database_(std::move(database)), thread_([this] { Run(); }) {}

StateWriter::~StateWriter() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    wake_.NotifyOne();
  }
  thread_.join();
}

void StateWriter::Post(Job job, Done done, Durability durability) {
  MutexLock lock(mutex_);
  queue_.push_back({std::move(job), std::move(done), durability});
  if (queue_.size() == 1) wake_.NotifyOne();
}

Status StateWriter::Do(Job job, Durability durability) {
  struct Waiter {
    Mutex mutex;
    CondVar done;
    bool finished GUARDED_BY(mutex) = false;
    Status status;
  } waiter;
  Post(
      std::move(job),
      [&waiter](const Status& status) {
        MutexLock lock(waiter.mutex);
        waiter.status = status;
        waiter.finished = true;
        waiter.done.NotifyOne();
      },
      durability);
  MutexLock lock(waiter.mutex);
  while (!waiter.finished) waiter.done.Wait(waiter.mutex);
  return std::move(waiter.status);
}

void StateWriter::Run() {
  std::vector<Queued> group;
  while (true) {
    {
      MutexLock lock(mutex_);
      while (queue_.empty() && !stopping_) wake_.Wait(mutex_);
      if (queue_.empty()) return;
      std::swap(group, queue_);
    }
    const Status status = RunGroup(group);
    if (!status) spdlog::error("{}", status.error().ToString());
    for (Queued& queued : group) queued.done(status);
    group.clear();
  }
}

Status StateWriter::RunGroup(std::vector<Queued>& group) {
  try {
    return RunInTransaction(group);
  } catch (const std::exception& e) {  // out of memory is all that can be thrown here
    return MakeError(ErrorKind::kDatabase, std::string("write state database (") + e.what() + ")",
                     ENOMEM);
  }
}

Status StateWriter::RunInTransaction(std::vector<Queued>& group) {
  const bool to_disk = std::ranges::any_of(
      group, [](const Queued& queued) { return queued.durability == Durability::kPowerCut; });
  if (to_disk) RETURN_IF_ERROR(database_.database().SetSync(Database::Sync::kFull));
  Status status = CommitJobs(group);
  if (to_disk) RETURN_IF_ERROR(database_.database().SetSync(Database::Sync::kNormal));
  return status;
}

Status StateWriter::CommitJobs(std::vector<Queued>& group) {
  ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(database_.database()));
  for (Queued& queued : group) RETURN_IF_ERROR(queued.job(database_));
  return transaction.Commit();
}

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
    if (!pages) spdlog::warn("{}", pages.error().ToString());
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
