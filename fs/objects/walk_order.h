// Which objects are likely to be changed next: what walks a tree (rm -r, chmod -R) changes one
// object after the other in the order in which it was told of them. A mark takes a commit, whatever
// it covers; so those of the next ones are made with it.
//
// Remembered are the objects that were listed last, and which of them a walk has passed. It goes on
// as long as it goes forwards, and the further the more is foreseen, as with readahead. What is
// marked in vain is compared in vain after a crash.
//
// Any thread.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <span>
#include <vector>

#include "meta/base/mutex.h"
#include "meta/capture.h"

namespace tandem::fs {

class WalkOrder : public meta::Foresight {
 public:
  using Clock = std::chrono::steady_clock;
  struct Listed {
    const meta::ObjectRef* object;  // borrowed for the call
    bool is_directory;
  };

  // What one read of a directory returned.
  void Add(std::span<const Listed> objects) EXCLUDES(mutex_);

  std::vector<meta::ObjectRef> LikelyNext(const meta::Intent::Item& touched) override {
    return LikelyNext(touched, Clock::now());
  }
  std::vector<meta::ObjectRef> LikelyNext(const meta::Intent::Item& touched, Clock::time_point now)
      EXCLUDES(mutex_);

 private:
  enum Kind : uint8_t { kAttributes, kEntries, kKinds };
  struct Seen {
    meta::ObjectRef object;
    uint64_t read = 0;  // those of one read stand beside each other
    bool is_directory = false;
    std::array<bool, kKinds> passed{};
  };
  struct Walk {
    size_t steps = 0;
    Clock::time_point last{};
  };

  // Where in seen_ the object may stand; the last that came has the place.
  uint32_t& PlaceOf(const ObjectId& object) REQUIRES(mutex_);
  // The one `steps` further on of the same read, or null.
  Seen* Beside(size_t at, ptrdiff_t steps) REQUIRES(mutex_);
  // Whether the walk comes from before `at`.
  bool ComesTo(size_t at, Kind kind) REQUIRES(mutex_);

  Mutex mutex_;
  std::vector<Seen> seen_ GUARDED_BY(mutex_);  // when full, a ring
  size_t next_ GUARDED_BY(mutex_) = 0;         // in it
  uint64_t reads_ GUARDED_BY(mutex_) = 0;
  std::vector<uint32_t> places_ GUARDED_BY(mutex_);
  std::array<Walk, kKinds> walks_ GUARDED_BY(mutex_);
};

}  // namespace tandem::fs
