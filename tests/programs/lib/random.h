// A small random stream (splitmix64) that is the same on every machine and
// library version, so that a seed printed by one run replays it elsewhere.
// Not thread safe: one stream a thread.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <span>

namespace tandem::programs {

class Random {
 public:
  // A stream that depends on all of `parts` and nothing else.
  Random(std::initializer_list<uint64_t> parts) {
    for (uint64_t part : parts) state_ = Mix(state_ ^ Mix(part + kStep));
  }

  uint64_t Next() { return Mix(state_ += kStep); }

  // Uniform in [0, bound); bound must not be 0.
  uint64_t Below(uint64_t bound) { return Next() % bound; }

  // Uniform in [low, high], both included.
  uint64_t Between(uint64_t low, uint64_t high) { return low + Below(high - low + 1); }

  bool OneIn(uint64_t n) { return Below(n) == 0; }

  // In [1, high], every power of two about equally often: mostly small.
  uint64_t Magnitude(uint64_t high) {
    const uint64_t bits = Below(std::bit_width(high)) + 1;
    const uint64_t mask = bits >= 64 ? ~uint64_t{0} : (uint64_t{1} << bits) - 1;
    return std::clamp<uint64_t>(Next() & mask, 1, high);
  }

  template <typename T, size_t kCount>
  T Choose(const T (&choices)[kCount]) {
    return choices[Below(kCount)];
  }

  void Fill(std::span<char> out) {
    while (!out.empty()) {
      const uint64_t word = Next();
      const size_t length = std::min(out.size(), sizeof word);
      std::memcpy(out.data(), &word, length);
      out = out.subspan(length);
    }
  }

 private:
  static constexpr uint64_t kStep = 0x9e3779b97f4a7c15;

  static uint64_t Mix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }

  uint64_t state_ = 0;
};

}  // namespace tandem::programs
