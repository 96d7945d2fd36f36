#include "meta/state/state_writer.h"

#include <chrono>
#include <thread>

#include "meta/base/log.h"
#include "meta/state/tuning.h"

namespace tandem::meta {
Status StateWriter::Do(const Job& job, Durability durability) {
  Waiting mine{job, durability, nullptr, false, {}, {}};
  Group group{&mine, &mine};
  {
    MutexLock lock(mutex_);
    (first_ == nullptr ? first_ : last_->next) = &mine;
    last_ = &mine;
    while (!mine.finished && first_ != &mine) mine.turn.Wait(mutex_);
    if (mine.finished) return std::move(mine.status);
    group.last = last_;
  }
  Status status = RunGroup(group);
  if (!status) LogError("{}", status.error().ToString());
  Finish(group, status);
  return status;
}

void StateWriter::Finish(Group group, const Status& status) {
  MutexLock lock(mutex_);
  first_ = group.last->next;
  if (first_ == nullptr) last_ = nullptr;
  if (first_ != nullptr) first_->turn.NotifyOne();
  // The first of the group is the calling thread's own.
  while (group.first != group.last) {
    group.first = group.first->next;
    group.first->status = status;
    group.first->finished = true;
    group.first->turn.NotifyOne();
  }
}

// Only a failed allocation can throw. If the allocation of the error message fails too, noexcept
// ends the program.
Status StateWriter::RunGroup(Group group) noexcept {
  try {
    return RunInTransaction(group);
  } catch (const std::exception& e) {
    return MakeError(ErrorKind::kDatabase, std::string("write state database (") + e.what() + ")",
                     ENOMEM);
  }
}

Status StateWriter::RunInTransaction(Group group) {
  bool to_disk = false;
  for (const Waiting* one = group.first;; one = one->next) {
    to_disk = to_disk || one->durability == Durability::kPowerCut;
    if (one == group.last) break;
  }
  if (to_disk) RETURN_IF_ERROR(database_.database().SetSync(Database::Sync::kFull));
  Status status = CommitJobs(group);
  if (to_disk) RETURN_IF_ERROR(database_.database().SetSync(Database::Sync::kNormal));
  return status;
}

Result<Transaction> StateWriter::BeginTransaction() {
  const auto begun = CondVar::Clock::now();
  auto say = begun + kLongBeginWait;
  while (true) {
    Result<Transaction> transaction = Transaction::Begin(database_.database());
    const bool busy = !transaction && transaction.error().code() == EBUSY;
    const auto now = CondVar::Clock::now();
    const auto waited = std::chrono::duration_cast<std::chrono::seconds>(now - begun).count();
    if (!busy) {
      if (say > begun + kLongBeginWait) LogInfo("the checkpoint ended after {} s", waited);
      return transaction;
    }
    // SQLite does not always wait before it returns SQLITE_BUSY.
    std::this_thread::sleep_for(kBeginPause);
    if (now < say) continue;
    LogWarning(
        "changes have been waiting for a checkpoint of the state database for {} s: its disk is "
        "slow",
        waited);
    say = now + kRepeatBeginWait;
  }
}

Status StateWriter::CommitJobs(Group group) {
  ASSIGN_OR_RETURN(Transaction transaction, BeginTransaction());
  for (const Waiting* one = group.first;; one = one->next) {
    RETURN_IF_ERROR(one->job(database_));
    if (one == group.last) break;
  }
  return transaction.Commit();
}

}  // namespace tandem::meta
