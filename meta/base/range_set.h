// Byte ranges, and sets of them. Not synchronised: the owner locks.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

namespace tandem {

// Half open: [start, end). Offsets in bytes; kEndOfFile as an end means "to wherever it ends".
struct ByteRange {
  static constexpr uint64_t kEndOfFile = INT64_MAX;

  uint64_t start = 0;
  uint64_t end = 0;

  static constexpr ByteRange From(uint64_t start) { return {start, kEndOfFile}; }
  static constexpr ByteRange Whole() { return {0, kEndOfFile}; }
  // `length` bytes from `start`, cut off at kEndOfFile instead of wrapping.
  static constexpr ByteRange Of(uint64_t start, uint64_t length) {
    return {start, length > kEndOfFile - start ? kEndOfFile : start + length};
  }

  constexpr bool empty() const { return start >= end; }
  constexpr uint64_t length() const { return empty() ? 0 : end - start; }
  constexpr bool Overlaps(const ByteRange& other) const {
    return start < other.end && other.start < end;
  }
  friend constexpr auto operator<=>(const ByteRange&, const ByteRange&) = default;
};

// A set of bytes as disjoint, non-adjacent ranges in order. Add and Remove cost O(log n) and what
// they merge away.
class RangeSet {
 public:
  void Add(ByteRange range);
  void AddAll(const RangeSet& other);
  void Remove(ByteRange range);
  void Clear() { ranges_.clear(); }

  bool empty() const { return ranges_.empty(); }
  size_t count() const { return ranges_.size(); }
  bool Intersects(ByteRange range) const;
  bool Contains(ByteRange range) const;
  // Bytes in the set, counting nothing beyond `limit`.
  uint64_t TotalBytes(uint64_t limit = ByteRange::kEndOfFile) const;
  // The part of the set within `range`, in order.
  std::vector<ByteRange> Within(ByteRange range) const;
  std::vector<ByteRange> ToVector() const { return Within(ByteRange::Whole()); }

  // Gives up precision until at most `limit` ranges are left (limit >= 1): the set only grows, by
  // closing the smallest gaps, in powers of two.
  void Coarsen(size_t limit);

  friend bool operator==(const RangeSet&, const RangeSet&) = default;

 private:
  std::map<uint64_t, uint64_t> ranges_;  // start -> end
};

}  // namespace tandem
