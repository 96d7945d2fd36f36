// Whether a file is known to be plain: to have nothing that a change of its content takes away
// (fs/caller/privileges.h). Looking costs two system calls, so what was seen is remembered until
// somebody may have given it such a thing again. A look and a gift may overlap in any way: what was
// seen before or while something is given is not remembered.
//
//   const auto seen = flag.Look();              const PlainFlag::Giving giving(flag);
//   if (nothing there) flag.Remember(seen);     chmod(...)
//
// Any thread.
#pragma once

#include <atomic>
#include <cstdint>

namespace tandem::fs {

class PlainFlag {
 public:
  // A moment at which a look begins.
  enum class Moment : uint64_t {};

  bool Known() const { return (state_.load(std::memory_order_acquire) & kPlain) != 0; }

  Moment Look() const { return Moment{state_.load(std::memory_order_acquire)}; }
  // Nothing was there when it was looked for after `begin`. Returns whether it is known now.
  bool Remember(Moment begin) {
    auto expected = static_cast<uint64_t>(begin);
    if ((expected & kGivers) != 0) return false;
    return state_.compare_exchange_strong(expected, expected | kPlain) || (expected & kPlain) != 0;
  }

  // While it lives, something may be given to the file; nothing is known then, nor afterwards.
  class Giving {
   public:
    explicit Giving(PlainFlag& flag) : flag_(flag) { flag_.Change(kOneGiver); }
    Giving(const Giving&) = delete;
    Giving& operator=(const Giving&) = delete;
    ~Giving() { flag_.Change(-kOneGiver); }

   private:
    PlainFlag& flag_;
  };

 private:
  // Bit 0: known to be plain. Bits 1 to 31: how many are giving. Above: counts all changes, so that
  // a Moment is no longer the state once anything was given.
  static constexpr uint64_t kPlain = 1;
  static constexpr uint64_t kOneGiver = 2;
  static constexpr uint64_t kGivers = 0xfffffffe;
  static constexpr uint64_t kOneChange = uint64_t{1} << 32;

  void Change(uint64_t givers) {
    uint64_t now = state_.load(std::memory_order_relaxed);
    while (!state_.compare_exchange_weak(now, (now & ~kPlain) + givers + kOneChange)) {
    }
  }

  std::atomic<uint64_t> state_{0};
};

}  // namespace tandem::fs
