// Keeps track of which regions of one object have hot marks, which are in use, and which can cool
// (DESIGN section 4, "Marks"). Not synchronised: the lock of its shard in Marks guards it.
//
// A file has 64 regions of 2^shift bytes; the last one extends to the end of the file. The object's
// attributes and a directory's entries are a region each.
//
// Time is divided into windows; EndWindow ends one and begins the next. Every touch is noted in the
// current window. When a window ends, the regions that no operation touched in it may cool, unless
// an operation that began before the window is still running or ended in it. So a region that cools
// has not been changed since that window began, and a sync of the source in that window covers it.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "meta/base/range_set.h"
#include "meta/change/hot_region.h"

namespace tandem::meta {

class HotObject {
 public:
  // Notes a touch. Returns the touched regions that have no mark yet.
  std::vector<HotRegion> TouchData(ByteRange range);
  // Returns the regions of a range just touched whose marks are not on stable storage.
  std::vector<HotRegion> WithoutDurableMark(ByteRange range) const;
  // Touches and returns further regions to mark durably together with `regions`: those that follow
  // within the first `bytes` of the file, then those from its start. It returns as many as have a
  // durable mark already, but at most 256 MiB. A durable mark costs a wait for the disk however
  // much it covers; a region that is marked but not changed costs a comparison after a crash.
  std::vector<HotRegion> TouchAhead(const std::vector<HotRegion>& regions, uint64_t bytes);
  std::vector<HotRegion> TouchAttributes();
  std::vector<HotRegion> TouchEntries();
  // Called when the region's hot row is committed, if `durable` to stable storage.
  void Marked(HotRegion region, bool durable = false);

  // Returns the size that the file had when it was last looked at, or nullopt if that was before
  // the source's sync number `sync`. Bytes beyond that size have not been synced.
  std::optional<uint64_t> ExistingBytes(uint64_t sync) const {
    return existing_at_ == sync ? std::optional(existing_bytes_) : std::nullopt;
  }
  void SetExistingBytes(uint64_t bytes, uint64_t sync) {
    existing_bytes_ = bytes;
    existing_at_ = sync;
  }

  uint8_t Pin();  // returns the parity to pass to Unpin
  void Unpin(uint8_t parity) {
    --pins_[parity];
    // The parity wraps, so it says nothing about a pin older than the last two windows.
    if (parity != parity_ || stale_pin_) ended_late_ = true;
  }
  bool pinned() const { return pins_[0] + pins_[1] != 0; }

  // Ends the current window. Removes the marks of the regions that were not touched in it and
  // returns those regions. If `all` (at unmount, or under pressure), removes all marks, provided
  // that no operation pins the object.
  std::vector<HotRegion> EndWindow(bool all);
  // Called if cooling these regions failed: marks them again, because their rows still exist.
  void Restore(const std::vector<HotRegion>& regions);

  bool cold() const { return marked_.empty() && outgrown_.empty(); }
  bool unused() const { return cold() && !pinned(); }

 private:
  struct Regions {
    uint64_t data = 0;
    bool attributes = false;
    bool entries = false;
    bool outgrown = false;  // used in touched_ only: some region of outgrown_ was touched
    bool empty() const { return data == 0 && !attributes && !entries; }
  };

  int shift_ = HotRegion::kMinShift;
  Regions marked_;
  // Marks of smaller regions, from before the file grew. They cool once all other regions have.
  std::vector<HotRegion> outgrown_;
  Regions touched_;
  std::array<int, 2> pins_{};
  uint8_t parity_ = 0;
  bool stale_pin_ = false;   // an operation has been running for longer than a window
  bool ended_late_ = false;  // an operation that began before this window has ended in it
  uint64_t durable_ = 0;     // data regions whose marks are on stable storage
  uint64_t existing_bytes_ = 0;
  uint64_t existing_at_ = 0;  // number of a sync; 0 if never looked at
};

}  // namespace tandem::meta
