#include "replica/store/stage_slot.h"

#include <algorithm>
#include <utility>

#include "replica/store/tuning.h"

namespace tandem::replica {

std::shared_ptr<Stage> StageSlot::Find(CutId id) {
  MutexLock lock(mutex_);
  return stage_ != nullptr && stage_->id() == id ? stage_ : nullptr;
}

bool StageSlot::IsOpen() {
  MutexLock lock(mutex_);
  return stage_ != nullptr;
}

bool StageSlot::HasEnded(CutId id) {
  MutexLock lock(mutex_);
  return std::ranges::find(ended_, id) != ended_.end();
}

void StageSlot::Put(std::shared_ptr<Stage> stage) {
  MutexLock lock(mutex_);
  stage_ = std::move(stage);
}

std::shared_ptr<Stage> StageSlot::End() {
  MutexLock lock(mutex_);
  if (stage_ == nullptr) return nullptr;
  ended_.push_back(stage_->id());
  if (ended_.size() > kMaxEndedStages) ended_.pop_front();
  return std::exchange(stage_, nullptr);
}

}  // namespace tandem::replica
