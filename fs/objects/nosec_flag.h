// Whether a file is known to have no privileges: no setuid or setgid bit and no capabilities, so
// that a change of its content has nothing to clear (fs/caller/privileges.h). The counterpart of
// the kernel's S_NOSEC. To look costs two system calls, so the answer is kept until something may
// give the file privileges. A look and such a call may overlap in any way: the flag is not set if
// it was cleared since the look began.
//
//   const auto snapshot = flag.TakeSnapshot();           const NosecFlag::ScopedClear clear(flag);
//   if (no privileges) flag.SetIfUnchanged(snapshot);    chmod(...)
//
// Any thread.
#pragma once

#include <atomic>
#include <cstdint>

namespace tandem::fs {

class NosecFlag {
 public:
  // The state at which a look began.
  enum class Snapshot : uint64_t {};

  bool IsSet() const { return (state_.load(std::memory_order_acquire) & kSet) != 0; }

  Snapshot TakeSnapshot() const { return Snapshot{state_.load(std::memory_order_acquire)}; }
  // Sets the flag unless it has been cleared since `begin`. Called if a look that began then found
  // no privileges. Returns whether the flag is set.
  bool SetIfUnchanged(Snapshot begin) {
    auto expected = static_cast<uint64_t>(begin);
    if ((expected & kClearers) != 0) return false;
    return state_.compare_exchange_strong(expected, expected | kSet) || (expected & kSet) != 0;
  }

  // Lives around a call that may give the file privileges. Clears the flag and keeps it clear.
  class ScopedClear {
   public:
    explicit ScopedClear(NosecFlag& flag) : flag_(flag) { flag_.Clear(kOneClearer); }
    ScopedClear(const ScopedClear&) = delete;
    ScopedClear& operator=(const ScopedClear&) = delete;
    ~ScopedClear() { flag_.Clear(-kOneClearer); }

   private:
    NosecFlag& flag_;
  };

 private:
  // Bit 0: the flag. Bits 1 to 31: how many ScopedClear there are. Above: how often the flag was
  // cleared, so that no state comes back once it was.
  static constexpr uint64_t kSet = 1;
  static constexpr uint64_t kOneClearer = 2;
  static constexpr uint64_t kClearers = 0xfffffffe;
  static constexpr uint64_t kOneClear = uint64_t{1} << 32;

  void Clear(uint64_t clearers) {
    uint64_t now = state_.load(std::memory_order_relaxed);
    while (!state_.compare_exchange_weak(now, (now & ~kSet) + clearers + kOneClear)) {
    }
  }

  std::atomic<uint64_t> state_{0};
};

}  // namespace tandem::fs
