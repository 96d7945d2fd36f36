// Holds off redoes of a volume while its tree and its catalog are looked at. A redo that is due
// goes first: a verify that asks without end delays it by one request, not for ever. Any thread; as
// short as possible.
#pragma once

#include <chrono>
#include <optional>

#include "replica/store/volume.h"

namespace tandem::replica {

class Volume::Inspection {
 public:
  // Waits up to a second for a redo to end.
  explicit Inspection(Volume& volume) : volume_(volume) {
    const auto deadline = CondVar::Clock::now() + std::chrono::seconds(1);
    MutexLock lock(volume_.mutex_);
    while (!volume_.pending_.empty() && !volume_.stopping_) {
      if (!volume_.changed_.WaitUntil(volume_.mutex_, deadline)) break;
    }
    if (!volume_.pending_.empty()) {
      refusal_ = volume_.BusyReply();
    } else {
      ++volume_.inspections_;
    }
  }
  ~Inspection() {
    if (refusal_) return;
    MutexLock lock(volume_.mutex_);
    if (--volume_.inspections_ == 0) volume_.changed_.NotifyAll();
  }
  Inspection(const Inspection&) = delete;
  Inspection& operator=(const Inspection&) = delete;

  // What to answer instead.
  const std::optional<Reply>& refusal() const { return refusal_; }

 private:
  Volume& volume_;
  std::optional<Reply> refusal_;
};

}  // namespace tandem::replica
