// How many bytes of a change set may be under way to the replica at a time: what the link carries
// in about two seconds. With more, a slow link would carry them for longer than an answer may take,
// and nothing would be heard of the replica meanwhile. And no more than it takes to keep the link
// and the replica busy: what is under way when a session ends is sent again. So the window grows
// beyond kUsualWindow only if the way is long (the quickest answer of all took kLongWay), and while
// answers take hardly longer than that: then they do not wait in a queue (as in TCP Vegas).
//
// The window doubles when an answer comes quickly, and halves when it comes late, as that of TCP
// does; it counts in powers of two. Where the connection is TCP's own its state would tell as much,
// but what ssh has taken in is seen by nobody.
//
// One thread at a time.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>

#include "replica/source/tuning.h"

namespace tandem::replica {

class Pace {
 public:
  using Clock = std::chrono::steady_clock;

  // Bytes that may be sent and not answered. A single chunk may exceed it.
  size_t window() const { return window_; }
  // Bytes at which a chunk ends, before it is compressed; several fit into the window, so that
  // answers come steadily.
  size_t chunk_bytes() const {
    const auto bytes = static_cast<size_t>(static_cast<double>(window_) / kChunksInWindow / ratio_);
    // The next may not compress at all, and has to be answered in time, too.
    return std::clamp(bytes / kBlock * kBlock, kLeastChunkBytes,
                      std::min(kChunkBytes, kMostWindows * window_));
  }
  // Content that is compared for one delta, which is one record, whatever it comes to.
  uint64_t delta_bytes() const {
    return window_ < kFirstWindow ? kMostWindows * window_ : kDeltaBytes;
  }

  // A chunk of `raw` bytes was sent as so many. The next is taken to compress as well.
  void Compressed(size_t raw, size_t sent) {
    ratio_ = std::clamp(static_cast<double>(sent) / static_cast<double>(raw), kLeastRatio, 1.0);
  }

  // The answer to a chunk came `took` after it was sent. `under_way` is what had no answer when it
  // was sent, itself included.
  void Answered(Clock::time_point sent, Clock::duration took, size_t under_way);
  // Whether more than usual fits under way, because answers take long to come.
  bool is_long_and_fast() const { return window_ > kUsualWindow; }
  // A session begins, maybe over another way.
  void BeginSession() { quickest_ = kUnknown; }
  // No answer came.
  void Lost(Clock::time_point now);

 private:
  void Set(size_t window, Clock::time_point now);
  bool IsForTheWay(Clock::duration took) const {
    return quickest_ >= kLongWay && took < 2 * quickest_;
  }

  static constexpr Clock::duration kUnknown = Clock::duration::max() / 2;
  static constexpr double kChunksInWindow = 4;
  static constexpr size_t kMostWindows = 4;
  static constexpr size_t kBlock = 4096;  // pieces of files begin at one
  static constexpr double kLeastRatio = 1.0 / 64;

  size_t window_ = kFirstWindow;
  double ratio_ = 1;                     // of what is sent to what it was before it was compressed
  Clock::duration quickest_ = kUnknown;  // of all answers of this session
  // What was sent before tells nothing of the present window.
  Clock::time_point since_ = Clock::time_point::min();
};

}  // namespace tandem::replica
