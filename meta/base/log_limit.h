// Keeps lines of one cause from filling the log: after a line of a cause, further ones within the
// period are only counted, and the next one says how many there were. For what peers can cause as
// often as they like.
//
// Any thread. Bounded: beyond kMostCauses, new causes share one.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "meta/base/mutex.h"

namespace tandem {

class LogLimit {
 public:
  using Time = CondVar::Clock::time_point;
  static constexpr size_t kMostCauses = 256;

  explicit LogLimit(std::chrono::seconds period) : period_(period) {}

  // Returns nullopt if the line is not to be written; otherwise what to write behind it: nothing,
  // or " (and 12 more like it)".
  std::optional<std::string> Suffix(const std::string& cause, Time now = CondVar::Clock::now())
      EXCLUDES(mutex_);

 private:
  struct Seen {
    Time written{};
    uint64_t left_out = 0;
  };

  const std::chrono::seconds period_;
  Mutex mutex_;
  std::map<std::string, Seen> seen_ GUARDED_BY(mutex_);
};

}  // namespace tandem
