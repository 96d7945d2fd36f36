#include "meta/capture/gate.h"

#include <sched.h>
#include <time.h>

#include <algorithm>

#include "meta/capture/tuning.h"

namespace tandem::meta {
namespace {

int SlotOfThisThread(size_t slots) {
  static std::atomic<unsigned> next{0};
  thread_local const unsigned mine = next.fetch_add(1, std::memory_order_relaxed);
  return static_cast<int>(mine % slots);
}

}  // namespace

int Gate::Enter() {
  const int slot = SlotOfThisThread(kSlots);
  std::atomic<int>& inside = slots_[static_cast<size_t>(slot)].inside;
  while (true) {
    // Both sides are sequentially consistent: either this sees closed_, or Close sees this thread
    // inside.
    inside.fetch_add(1);
    if (!closed_.load()) [[likely]]
      return slot;
    inside.fetch_sub(1);
    MutexLock lock(mutex_);
    while (closed_.load()) opened_.Wait(mutex_);
  }
}

void Gate::Leave(int slot) { slots_[static_cast<size_t>(slot)].inside.fetch_sub(1); }

bool Gate::IsEmpty() const {
  return std::all_of(slots_.begin(), slots_.end(),
                     [](const Slot& slot) { return slot.inside.load() == 0; });
}

bool Gate::Close(std::chrono::microseconds patience) {
  closed_.store(true);
  const auto deadline = std::chrono::steady_clock::now() + patience;
  for (int round = 0; !IsEmpty(); ++round) {
    if (std::chrono::steady_clock::now() >= deadline) {
      Open();
      return false;
    }
    if (round < kGateYields) {
      sched_yield();
    } else {
      const timespec pause{0, round < kGateYields + kGateShortNaps ? 50'000 : 500'000};
      nanosleep(&pause, nullptr);
    }
  }
  return true;
}

void Gate::Open() {
  MutexLock lock(mutex_);
  closed_.store(false);
  opened_.NotifyAll();
}

}  // namespace tandem::meta
