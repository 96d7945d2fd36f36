// A wall clock that is wrong, for programs under test (tests/preload/wrong_clock.cc). It can be set
// while they run.
#pragma once

#include <cstdint>
#include <string>

#include "tests/daemons.h"
#include "tests/scratch.h"

namespace tandem::test {

inline constexpr int64_t kYear = int64_t{365} * 24 * 3600;

class WrongClock {
 public:
  // Right at first.
  WrongClock(const Scratch& scratch, const std::string& name);
  ~WrongClock();
  WrongClock(const WrongClock&) = delete;
  WrongClock& operator=(const WrongClock&) = delete;

  // With it a program has this clock.
  Environment environment() const;
  // Seconds; positive: the clock is ahead.
  void Set(int64_t wrong_by) { *wrong_by_ = wrong_by; }

 private:
  std::string path_;
  volatile int64_t* wrong_by_;
};

}  // namespace tandem::test
