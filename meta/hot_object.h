// Which parts of one object are covered by hot marks, which are in use, and which have been left
// alone long enough to be cooled (DESIGN section 4, "Marks"). Pure bookkeeping, not synchronised:
// the lock of its shard in Marks guards it.
//
// A file has 64 regions of 2^shift bytes; the last one goes on to the end of the file whatever its
// size. The object's attributes and a directory's entries are a region each.
//
// Time is counted in windows, by the tracker's ticks. Every touch is noted in the current window;
// what no operation touched in the window that just ended may be cooled, unless an operation that
// began before that window is still running or ended in it. So whatever cools has not been changed
// since that window began, and a sync of the source in it covers it.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "meta/base/range_set.h"

namespace tandem::meta {

// A hot row's `region` column: attributes, entries, or shift and index of a data region.
class HotRegion {
 public:
  static constexpr int kMinShift = 22;  // 4 MiB
  static constexpr int kMaxShift = 57;  // 64 such regions cover every file offset
  static constexpr int kPerFile = 64;

  static constexpr HotRegion Attributes() { return HotRegion(-1); }
  static constexpr HotRegion Entries() { return HotRegion(-2); }
  static constexpr HotRegion Data(int shift, int index) {
    return HotRegion(static_cast<int64_t>(shift) * kPerFile + index);
  }
  static constexpr HotRegion FromCode(int64_t code) { return HotRegion(code); }

  friend constexpr bool operator==(HotRegion, HotRegion) = default;

  constexpr int64_t code() const { return code_; }
  constexpr bool is_attributes() const { return code_ == -1; }
  constexpr bool is_entries() const { return code_ == -2; }
  // Of data regions.
  constexpr int index() const { return static_cast<int>(code_ % kPerFile); }
  // Of data regions. An impossible code (a damaged row) covers the whole file.
  ByteRange range() const;

 private:
  constexpr explicit HotRegion(int64_t code) : code_(code) {}
  int64_t code_;
};

class HotObject {
 public:
  // Notes a touch; returns the regions among those touched that have no mark yet.
  std::vector<HotRegion> TouchData(ByteRange range);
  // Of a range just touched: the regions whose mark is not on stable storage yet.
  std::vector<HotRegion> WithoutDurableMark(ByteRange range) const;
  // While a file needs one durable mark after the other, touches those to make with these
  // `regions`, and returns them: as many as there are by now, but no more than 256 MiB, of what
  // comes next within `bytes`. A durable mark waits for the disk, whatever it covers; and what is
  // marked in vain is compared in vain after a crash.
  std::vector<HotRegion> TouchAhead(const std::vector<HotRegion>& regions, uint64_t bytes);
  std::vector<HotRegion> TouchAttributes();
  std::vector<HotRegion> TouchEntries();
  // The region's row is committed; `durable`: to stable storage.
  void Marked(HotRegion region, bool durable = false);

  // How much of the file there was when it was last looked at; nothing if that was before the
  // source's sync number `sync`: what lies beyond has not been synced.
  std::optional<uint64_t> ExistingBytes(uint64_t sync) const {
    return existing_at_ == sync ? std::optional(existing_bytes_) : std::nullopt;
  }
  void SetExistingBytes(uint64_t bytes, uint64_t sync) {
    existing_bytes_ = bytes;
    existing_at_ = sync;
  }

  uint8_t Pin();  // returns the parity to give to Unpin
  void Unpin(uint8_t parity) {
    --pins_[parity];
    // A pin may be older than the last two windows; then its parity says nothing.
    if (parity != parity_ || stale_pin_) ended_late_ = true;
  }
  bool pinned() const { return pins_[0] + pins_[1] != 0; }

  // Ends the current window, and takes away the marks of what was not touched in it; returns those
  // regions. `all`: of everything, if nobody is using the object (at unmount; under pressure).
  std::vector<HotRegion> EndWindow(bool all);
  // Cooling failed: the rows are still there.
  void Restore(const std::vector<HotRegion>& regions);

  bool cold() const { return marked_.empty() && outgrown_.empty(); }
  bool unused() const { return cold() && !pinned(); }

 private:
  struct Regions {
    uint64_t data = 0;
    bool attributes = false;
    bool entries = false;
    bool outgrown = false;  // of touched_ only: some of outgrown_
    bool empty() const { return data == 0 && !attributes && !entries; }
  };

  int shift_ = HotRegion::kMinShift;
  Regions marked_;
  // Rows of finer regions from before the file grew; they go once everything else has cooled.
  std::vector<HotRegion> outgrown_;
  Regions touched_;
  std::array<int, 2> pins_{};
  uint8_t parity_ = 0;
  bool stale_pin_ = false;   // an operation has been running for more than a window
  bool ended_late_ = false;  // an operation from before this window has ended in it
  uint64_t durable_ = 0;     // data regions whose marks are on stable storage
  uint64_t existing_bytes_ = 0;
  uint64_t existing_at_ = 0;  // 0: never looked
};

}  // namespace tandem::meta
