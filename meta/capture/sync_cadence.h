// Decides when to sync SOURCE, which ends a window of cooling (meta/capture/hot_object.h).
#pragma once

#include <chrono>
#include <cstdint>

namespace tandem::meta {

// A region cools if it was not touched for one to two windows. A window is long enough that a busy
// file is not marked again and again, and short enough that little has to be compared after a
// crash.
//
// While much is being written, the end of the window is postponed. Otherwise each sync would write
// pages to the disk that are being overwritten all the time; without it the kernel keeps dirty
// pages in memory for half a minute. Once the writers pause, the window ends.
//
// Not synchronised: for one thread.
class SyncCadence {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  static constexpr std::chrono::seconds kWindow{5};
  static constexpr std::chrono::seconds kLongestWindow{30};
  static constexpr uint64_t kMuchWritten = 64 << 20;  // bytes within kWindow

  explicit SyncCadence(TimePoint now) : next_(now + kWindow), synced_(now) {}

  // Returns when to call MustSync.
  TimePoint next() const { return next_; }

  // Called at next(). `written` is the number of bytes written since the last call. Returns true if
  // the window ends now.
  bool MustSync(TimePoint now, uint64_t written) {
    if (written > kMuchWritten && now - synced_ < kLongestWindow) {
      next_ = now + kWindow;
      return false;
    }
    synced_ = now;
    return true;
  }

  // Called when the sync that MustSync asked for has ended, whether or not it succeeded.
  void SyncEnded(TimePoint now) { next_ = now + kWindow; }

 private:
  TimePoint next_;
  TimePoint synced_;
};

}  // namespace tandem::meta
