#include "replica/store/stage_slot.h"

#include <algorithm>
#include <utility>

#include "replica/store/tuning.h"

namespace tandem::replica {

std::shared_ptr<Stage> StageSlot::Find(CutId attempt) {
  MutexLock lock(mutex_);
  return attempt == attempt_ && !attempt.is_null() ? stage_ : nullptr;
}

std::shared_ptr<Stage> StageSlot::Open() {
  MutexLock lock(mutex_);
  return stage_;
}

bool StageSlot::HasEnded(CutId attempt) {
  MutexLock lock(mutex_);
  return std::ranges::find(ended_, attempt) != ended_.end();
}

void StageSlot::Put(std::shared_ptr<Stage> stage, CutId attempt) {
  MutexLock lock(mutex_);
  stage_ = std::move(stage);
  attempt_ = attempt;
}

void StageSlot::PassOn(CutId attempt, Index index) {
  MutexLock lock(mutex_);
  EndAttempt();
  attempt_ = attempt;
  index_ = std::move(index);
}

StageSlot::Index StageSlot::IndexOf(CutId attempt) {
  MutexLock lock(mutex_);
  return attempt == attempt_ && !attempt.is_null() ? index_ : nullptr;
}

std::shared_ptr<Stage> StageSlot::End() {
  MutexLock lock(mutex_);
  if (stage_ == nullptr) return nullptr;
  EndAttempt();
  return std::exchange(stage_, nullptr);
}

void StageSlot::EndAttempt() {
  if (!attempt_.is_null()) ended_.push_back(std::exchange(attempt_, CutId()));
  if (ended_.size() > kMaxEndedStages) ended_.pop_front();
  index_ = nullptr;
}

}  // namespace tandem::replica
