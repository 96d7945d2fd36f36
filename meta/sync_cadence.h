// When SOURCE is synced, and with that what was hot cools.
#pragma once

#include <chrono>
#include <cstdint>

namespace tandem::meta {

// A region that was not touched for one to two windows cools. Long enough that a busy file is not
// marked again and again, short enough that little has to be compared after a crash.
//
// While much is written the end of a window is put off: what is overwritten all the time would be
// written to the disk by our syncs alone, each time. The kernel, too, lets data wait for half a
// minute. As soon as the writers pause it is made up for.
//
// One thread.
class SyncCadence {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  static constexpr std::chrono::seconds kWindow{5};
  static constexpr std::chrono::seconds kLongestWindow{30};
  static constexpr uint64_t kMuchWritten = 64 << 20;  // bytes in kWindow

  explicit SyncCadence(TimePoint now) : next_(now + kWindow), synced_(now) {}

  // When MustSync is to be asked.
  TimePoint next() const { return next_; }

  // At next(), with the bytes written since it was asked before: whether the window ends now.
  bool MustSync(TimePoint now, uint64_t written) {
    if (written > kMuchWritten && now - synced_ < kLongestWindow) {
      next_ = now + kWindow;
      return false;
    }
    synced_ = now;
    return true;
  }

  // The sync that MustSync asked for has ended, however it did.
  void SyncEnded(TimePoint now) { next_ = now + kWindow; }

 private:
  TimePoint next_;
  TimePoint synced_;
};

}  // namespace tandem::meta
