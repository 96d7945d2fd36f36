#include "replica/store/volume_table.h"

#include <utility>
#include <vector>

#include "replica/store/tuning.h"

namespace tandem::replica {

void VolumeTable::Note(const VolumeKey& key) {
  MutexLock lock(mutex_);
  slots_[key].exists = true;
}

Result<std::shared_ptr<Volume>> VolumeTable::Get(const VolumeKey& key, const Opener& open) {
  const auto deadline = CondVar::Clock::now() + kMaxOpenWait;
  {
    MutexLock lock(mutex_);
    while (slots_[key].busy && !stopping_) {
      if (!changed_.WaitUntil(mutex_, deadline)) {
        return MakeError(ErrorKind::kUnreachable,
                         "open volume " + key.name + " (its disk takes long to answer; ask again)",
                         EBUSY);
      }
    }
    if (stopping_) return MakeError(ErrorKind::kCancelled, "open volume " + key.name);
    Slot& slot = slots_[key];
    slot.used = CondVar::Clock::now();
    if (slot.volume != nullptr) return slot.volume;
    slot.busy = true;
  }
  auto opened = open();
  MutexLock lock(mutex_);
  Slot& slot = slots_[key];
  slot.busy = false;
  changed_.NotifyAll();
  if (opened) {
    slot.volume = *opened;
    slot.exists = true;
    slot.used = CondVar::Clock::now();
    if (stopping_) slot.volume->Stop();
  } else if (!slot.exists) {
    slots_.erase(key);  // nobody can fill the table with names
  }
  return opened;
}

std::shared_ptr<Volume> VolumeTable::Find(const VolumeKey& key) {
  MutexLock lock(mutex_);
  const auto found = slots_.find(key);
  if (found == slots_.end() || found->second.volume == nullptr) return nullptr;
  found->second.used = CondVar::Clock::now();
  return found->second.volume;
}

std::vector<VolumeKey> VolumeTable::Keys() {
  std::vector<VolumeKey> keys;
  MutexLock lock(mutex_);
  for (const auto& [key, slot] : slots_) {
    if (slot.exists) keys.push_back(key);
  }
  return keys;
}

size_t VolumeTable::CountOf(const std::string& account) {
  MutexLock lock(mutex_);
  size_t count = 0;
  for (auto slot = slots_.lower_bound({account, ""});
       slot != slots_.end() && slot->first.account == account; ++slot) {
    ++count;
  }
  return count;
}

bool VolumeTable::IsIdle(const Slot& slot) const {
  return slot.volume != nullptr && !slot.busy && slot.volume.use_count() == 1 &&
         slot.volume->HasNothingToDo();
}

void VolumeTable::CloseIdle(Time since) {
  std::vector<std::pair<VolumeKey, std::shared_ptr<Volume>>> closing;
  {
    MutexLock lock(mutex_);
    for (auto& [key, slot] : slots_) {
      if (slot.used > since || !IsIdle(slot)) continue;
      if (slot.volume->IsConnected() && slot.used > since - kIdleConnected) continue;
      // A source may be long in reading before it sends on.
      if (slot.volume->HasStage() && slot.used > since - kIdleStage) continue;
      slot.busy = true;
      closing.emplace_back(key, std::move(slot.volume));
      slot.volume = nullptr;
    }
  }
  for (auto& [key, volume] : closing) {
    volume.reset();
    MutexLock lock(mutex_);
    slots_[key].busy = false;
    changed_.NotifyAll();
  }
}

Status VolumeTable::CloseFor(const VolumeKey& key, Time since,
                             const std::function<Status()>& work) {
  std::shared_ptr<Volume> closing;
  {
    MutexLock lock(mutex_);
    Slot& slot = slots_[key];
    const bool is_open = slot.volume != nullptr;
    if (slot.busy || (is_open && (slot.used > since || !IsIdle(slot)))) {
      return MakeError(ErrorKind::kRefused, "close volume " + key.ToString() + " (it is in use)",
                       EBUSY);
    }
    slot.busy = true;
    closing = std::exchange(slot.volume, nullptr);
  }
  closing.reset();
  auto done = work();
  MutexLock lock(mutex_);
  Slot& slot = slots_[key];
  slot.busy = false;
  if (done || !slot.exists) slots_.erase(key);
  changed_.NotifyAll();
  return done;
}

void VolumeTable::Stop() {
  MutexLock lock(mutex_);
  stopping_ = true;
  changed_.NotifyAll();
  for (const auto& [key, slot] : slots_) {
    if (slot.volume != nullptr) slot.volume->Stop();
  }
}

}  // namespace tandem::replica
