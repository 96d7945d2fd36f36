#include "replica/store/volume_report.h"

#include <utility>

namespace tandem::replica {

void VolumeReport::AddTo(Position& position) {
  const std::string mounted = place_.Mounted();
  const std::string edited = edits_.ToString();
  MutexLock lock(mutex_);
  position.short_objects = short_objects_;
  position.short_count = short_count_;
  for (const std::string& text : {notices_.ToString(), damage_, history_, mounted, edited}) {
    if (!text.empty() && !position.notice.empty()) position.notice += "; ";
    position.notice += text;
  }
}

Notices VolumeReport::notices() {
  MutexLock lock(mutex_);
  return notices_;
}

void VolumeReport::SetNotices(const Notices& notices) {
  MutexLock lock(mutex_);
  notices_ = notices;
}

void VolumeReport::SetShortObjects(std::vector<ShortObject> listed, uint64_t count) {
  MutexLock lock(mutex_);
  short_objects_ = std::move(listed);
  short_count_ = count;
}

void VolumeReport::SetDamage(const std::string& text) {
  MutexLock lock(mutex_);
  damage_ = text;
}

void VolumeReport::SetHistory(const std::string& text) {
  MutexLock lock(mutex_);
  history_ = text;
}

}  // namespace tandem::replica
