#include "meta/change/hot_region.h"

namespace tandem::meta {

ByteRange HotRegion::range() const {
  const int64_t shift = code_ / kPerFile;
  const int64_t index = code_ % kPerFile;
  if (code_ < 0 || shift < kMinShift || shift > kMaxShift) return ByteRange::Whole();
  const uint64_t start = static_cast<uint64_t>(index) << shift;
  if (index == kPerFile - 1) return ByteRange::From(start);
  return ByteRange::Of(start, uint64_t{1} << shift);
}

}  // namespace tandem::meta
