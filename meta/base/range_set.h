// Byte ranges and sets of byte ranges. Not synchronised: the owner must lock.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

namespace tandem {

// A half-open range [start, end) of byte offsets. An `end` of kEndOfFile means "to the end of the
// file, wherever that is".
struct ByteRange {
  static constexpr uint64_t kEndOfFile = INT64_MAX;

  uint64_t start = 0;
  uint64_t end = 0;

  static constexpr ByteRange From(uint64_t start) { return {start, kEndOfFile}; }
  static constexpr ByteRange Whole() { return {0, kEndOfFile}; }
  // `length` bytes from `start`, clipped at kEndOfFile instead of wrapping.
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

// A set of bytes, kept as ordered ranges that neither overlap nor touch. Add and Remove cost
// O(log n + number of ranges they merge or remove).
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
  // Returns the number of bytes in the set that lie below `limit`.
  uint64_t TotalBytes(uint64_t limit = ByteRange::kEndOfFile) const;
  // Returns the part of the set that lies within `range`, in order.
  std::vector<ByteRange> Within(ByteRange range) const;
  std::vector<ByteRange> ToVector() const { return Within(ByteRange::Whole()); }

  // Merges ranges until at most `limit` are left (limit >= 1). The set only grows: gaps are closed,
  // those of up to 4096 bytes first, then those of up to twice as many, and so on.
  void Coarsen(size_t limit);

  friend bool operator==(const RangeSet&, const RangeSet&) = default;

 private:
  std::map<uint64_t, uint64_t> ranges_;  // start -> end
};

}  // namespace tandem
