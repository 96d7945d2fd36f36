// Predicts which objects are changed next. A program that walks a tree (rm -r, chmod -R) changes
// objects in the order in which they were listed. A mark takes a commit, however many objects it
// covers, so the marks of the objects that come next are made with it.
//
// Remembers the objects listed last, and which of them a walk has passed. While the walk goes
// forwards, each mark covers more of the objects ahead, up to kMaxMarkedAhead, as readahead does.
// An object that is marked and not changed costs a comparison after a crash.
//
// Any thread.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <span>
#include <vector>

#include "meta/base/mutex.h"
#include "meta/capture/capture.h"

namespace tandem::fs {

class WalkOrder : public meta::TouchPredictor {
 public:
  using Clock = std::chrono::steady_clock;
  struct Listed {
    const meta::ObjectRef* object;  // borrowed during the call
    bool is_directory;
  };

  // Adds the objects that one read of a directory returned, in its order.
  void Add(std::span<const Listed> objects) EXCLUDES(mutex_);

  std::vector<meta::ObjectRef> LikelyNext(const meta::Intent::Item& touched) override {
    return LikelyNext(touched, Clock::now());
  }
  // The same with the time given, for tests.
  std::vector<meta::ObjectRef> LikelyNext(const meta::Intent::Item& touched, Clock::time_point now)
      EXCLUDES(mutex_);

 private:
  enum Kind : uint8_t { kAttributes, kEntries, kKinds };
  struct Seen {
    meta::ObjectRef object;
    uint64_t read = 0;  // number of the read that returned it; those of one read are adjacent
    bool is_directory = false;
    std::array<bool, kKinds> passed{};  // by a walk that changes this kind
  };
  struct Walk {
    size_t steps = 0;  // objects that the last mark covered ahead
    Clock::time_point last{};
  };

  // Returns the slot that holds the object's index in seen_, if no later object has taken it.
  uint32_t& SlotOf(const ObjectId& object) REQUIRES(mutex_);
  // Returns the object `steps` after `at` in the same read, or null.
  Seen* Neighbour(size_t at, ptrdiff_t steps) REQUIRES(mutex_);
  // Returns whether a walk that has reached `at` has passed the objects before it.
  bool Continues(size_t at, Kind kind) REQUIRES(mutex_);

  Mutex mutex_;
  std::vector<Seen> seen_ GUARDED_BY(mutex_);  // a ring once it holds kMaxListed
  size_t next_ GUARDED_BY(mutex_) = 0;         // index in seen_ that is written next
  uint64_t reads_ GUARDED_BY(mutex_) = 0;
  std::vector<uint32_t> slots_ GUARDED_BY(mutex_);
  std::array<Walk, kKinds> walks_ GUARDED_BY(mutex_);
};

}  // namespace tandem::fs
