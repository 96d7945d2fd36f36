// How many bytes of change sets may be sent to a replica in a second, by the time of day.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "meta/base/mutex.h"
#include "meta/base/result.h"

namespace tandem::replica {

// A schedule as people write it: "2M" (bytes a second: K, M, G), or
// "08:00-18:00=2M,22:00-06:00=0,*=8M": the first span that has the local time counts, * is any
// time. 0, or no span: no limit. Less than kLeast is refused: a chunk would take too long.
// Immutable.
class BandwidthSchedule {
 public:
  static constexpr uint64_t kLeast = 4096;

  // Returns kUsage if the text cannot be read. An empty text is no limit.
  static Result<BandwidthSchedule> Parse(const std::string& text);

  // Returns the bytes a second at this minute of the day; 0: no limit.
  uint64_t At(int minute_of_day) const;
  uint64_t Now() const;
  const std::string& text() const { return text_; }

 private:
  struct Span {
    int begin;  // minutes of the day
    int end;    // before `begin`: of the next day
    uint64_t rate;
  };
  std::string text_;
  std::vector<Span> spans_;
};

// Makes a sender keep to a schedule. Any thread may call the others, one calls Take.
class BandwidthLimit {
 public:
  void Set(BandwidthSchedule schedule) EXCLUDES(mutex_);
  // Take returns kCancelled instead of waiting: while the sender is paused, and once it stops.
  void SetPaused(bool paused) EXCLUDES(mutex_);
  void Stop() EXCLUDES(mutex_);
  // Returns the bytes a second now; 0: no limit.
  uint64_t rate() const EXCLUDES(mutex_);
  std::string text() const EXCLUDES(mutex_);
  // Waits until so many bytes may be sent. They may exceed what a second has: those that follow
  // wait for it.
  Status Take(uint64_t bytes) EXCLUDES(mutex_);

 private:
  using Clock = CondVar::Clock;
  mutable Mutex mutex_;
  CondVar changed_;
  bool stopping_ GUARDED_BY(mutex_) = false;
  bool paused_ GUARDED_BY(mutex_) = false;
  BandwidthSchedule schedule_ GUARDED_BY(mutex_);
  Clock::time_point free_at_ GUARDED_BY(mutex_){};  // all that was sent has had its time
};

}  // namespace tandem::replica
