#include "meta/capture/hot_object.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "meta/capture/tuning.h"

namespace tandem::meta {
namespace {

// Returns the regions that `range` overlaps, one bit each.
uint64_t BitsFor(ByteRange range, int shift) {
  constexpr uint64_t kLast = HotRegion::kPerFile - 1;
  const uint64_t first = std::min(range.start >> shift, kLast);
  const uint64_t last = std::min((range.end - 1) >> shift, kLast);
  const uint64_t up_to_last = last == kLast ? ~uint64_t{0} : (uint64_t{1} << (last + 1)) - 1;
  return up_to_last & ~((uint64_t{1} << first) - 1);
}

void AppendDataRegions(uint64_t bits, int shift, std::vector<HotRegion>& regions) {
  for (; bits != 0; bits &= bits - 1) {
    regions.push_back(HotRegion::Data(shift, std::countr_zero(bits)));
  }
}

}  // namespace

std::vector<HotRegion> HotObject::TouchData(ByteRange range) {
  std::vector<HotRegion> missing;
  if (range.empty()) return missing;
  // If the file outgrows its 64 regions, it gets larger ones. A range up to kEndOfFile counts only
  // up to its first byte.
  const uint64_t extent = range.end == ByteRange::kEndOfFile ? range.start + 1 : range.end;
  int shift = shift_;
  while (shift < HotRegion::kMaxShift && ((extent - 1) >> shift) >= HotRegion::kPerFile) ++shift;
  if (shift != shift_) {
    AppendDataRegions(marked_.data, shift_, outgrown_);
    shift_ = shift;
    touched_.outgrown = true;
    marked_.data = 0;
    durable_ = 0;
    touched_.data = 0;
  }
  const uint64_t bits = BitsFor(range, shift_);
  touched_.data |= bits;
  AppendDataRegions(bits & ~marked_.data, shift_, missing);
  return missing;
}

std::vector<HotRegion> HotObject::TouchAttributes() {
  touched_.attributes = true;
  if (marked_.attributes) return {};
  return {HotRegion::Attributes()};
}

std::vector<HotRegion> HotObject::TouchEntries() {
  touched_.entries = true;
  if (marked_.entries) return {};
  return {HotRegion::Entries()};
}

std::vector<HotRegion> HotObject::WithoutDurableMark(ByteRange range) const {
  std::vector<HotRegion> missing;
  if (!range.empty()) AppendDataRegions(BitsFor(range, shift_) & ~durable_, shift_, missing);
  return missing;
}

std::vector<HotRegion> HotObject::TouchAhead(const std::vector<HotRegion>& regions,
                                             uint64_t bytes) {
  std::vector<HotRegion> ahead;
  if (regions.empty() || bytes == 0) return ahead;
  uint64_t open = BitsFor({0, bytes}, shift_) & ~durable_;
  for (const HotRegion region : regions) open &= ~(uint64_t{1} << region.index());
  // Go in the order in which a file is usually written: from behind the last region, then from the
  // start.
  const int next = (regions.back().index() + 1) % HotRegion::kPerFile;
  uint64_t left =
      std::min(static_cast<uint64_t>(std::popcount(durable_)), kMaxTouchedAhead >> shift_);
  for (open = std::rotr(open, next); left > 0 && open != 0; --left, open &= open - 1) {
    const int index = (std::countr_zero(open) + next) % HotRegion::kPerFile;
    touched_.data |= uint64_t{1} << index;
    ahead.push_back(HotRegion::Data(shift_, index));
  }
  return ahead;
}

void HotObject::Marked(HotRegion region, bool durable) {
  if (region.is_attributes()) {
    marked_.attributes = true;
  } else if (region.is_entries()) {
    marked_.entries = true;
  } else if (region.code() / HotRegion::kPerFile == shift_) {
    const uint64_t bit = uint64_t{1} << region.index();
    marked_.data |= bit;
    if (durable) durable_ |= bit;
  } else {
    touched_.outgrown = true;
    outgrown_.push_back(region);
  }
}

uint8_t HotObject::Pin() {
  ++pins_[parity_];
  return parity_;
}

std::vector<HotRegion> HotObject::EndWindow(bool all) {
  // Pins of the other parity were taken before the window that ends now.
  if (pins_[parity_ ^ 1] != 0) stale_pin_ = true;
  if (!pinned()) stale_pin_ = false;
  parity_ ^= 1;
  const Regions touched = std::exchange(touched_, Regions());
  std::vector<HotRegion> cooled;
  const bool ended_late = std::exchange(ended_late_, false);
  if (stale_pin_ || (ended_late && !all) || (all && pinned())) return cooled;

  const Regions keep = all ? Regions() : touched;
  AppendDataRegions(marked_.data & ~keep.data, shift_, cooled);
  marked_.data &= keep.data;
  durable_ &= keep.data;
  if (marked_.attributes && !keep.attributes) {
    cooled.push_back(HotRegion::Attributes());
    marked_.attributes = false;
  }
  if (marked_.entries && !keep.entries) {
    cooled.push_back(HotRegion::Entries());
    marked_.entries = false;
  }
  if (marked_.empty() && !keep.outgrown) {
    cooled.insert(cooled.end(), outgrown_.begin(), outgrown_.end());
    outgrown_.clear();
    if (!pinned()) shift_ = HotRegion::kMinShift;
  }
  return cooled;
}

void HotObject::Restore(const std::vector<HotRegion>& regions) {
  for (const HotRegion region : regions) Marked(region);
}

}  // namespace tandem::meta
