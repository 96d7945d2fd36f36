#include "meta/base/range_set.h"

#include <algorithm>

namespace tandem {

void RangeSet::Add(ByteRange range) {
  if (range.empty()) return;
  auto it = ranges_.upper_bound(range.start);
  if (it != ranges_.begin()) {
    const auto before = std::prev(it);
    if (before->second >= range.start) {
      if (before->second >= range.end) return;
      range.start = before->first;
      it = before;
    }
  }
  if (it != ranges_.end() && it->first == range.start) {
    it->second = std::max(it->second, range.end);
  } else {
    it = ranges_.emplace_hint(it, range.start, range.end);
  }
  auto next = std::next(it);
  while (next != ranges_.end() && next->first <= it->second) {
    it->second = std::max(it->second, next->second);
    next = ranges_.erase(next);
  }
}

void RangeSet::AddAll(const RangeSet& other) {
  for (const auto& [start, end] : other.ranges_) Add({start, end});
}

void RangeSet::Remove(ByteRange range) {
  if (range.empty()) return;
  auto it = ranges_.upper_bound(range.start);
  if (it != ranges_.begin()) {
    const auto before = std::prev(it);
    const uint64_t end = before->second;
    if (end > range.start) {
      if (before->first == range.start) {
        ranges_.erase(before);
      } else {
        before->second = range.start;
      }
      if (end > range.end) {
        ranges_.emplace_hint(it, range.end, end);
        return;
      }
    }
  }
  while (it != ranges_.end() && it->first < range.end) {
    const uint64_t end = it->second;
    it = ranges_.erase(it);
    if (end > range.end) {
      ranges_.emplace_hint(it, range.end, end);
      return;
    }
  }
}

bool RangeSet::Intersects(ByteRange range) const {
  if (range.empty()) return false;
  const auto it = ranges_.lower_bound(range.end);
  return it != ranges_.begin() && std::prev(it)->second > range.start;
}

bool RangeSet::Contains(ByteRange range) const {
  if (range.empty()) return true;
  const auto it = ranges_.upper_bound(range.start);
  return it != ranges_.begin() && std::prev(it)->second >= range.end;
}

uint64_t RangeSet::TotalBytes(uint64_t limit) const {
  uint64_t total = 0;
  for (const auto& [start, end] : ranges_) {
    if (start >= limit) break;
    total += std::min(end, limit) - start;
  }
  return total;
}

std::vector<ByteRange> RangeSet::Within(ByteRange range) const {
  std::vector<ByteRange> result;
  auto it = ranges_.upper_bound(range.start);
  if (it != ranges_.begin()) --it;
  for (; it != ranges_.end() && it->first < range.end; ++it) {
    const ByteRange part{std::max(it->first, range.start), std::min(it->second, range.end)};
    if (!part.empty()) result.push_back(part);
  }
  return result;
}

void RangeSet::Coarsen(size_t limit) {
  for (uint64_t gap = 4096; ranges_.size() > limit; gap *= 2) {
    for (auto it = ranges_.begin(); it != ranges_.end();) {
      const auto next = std::next(it);
      if (next == ranges_.end()) break;
      if (next->first - it->second <= gap) {
        it->second = next->second;
        ranges_.erase(next);
      } else {
        it = next;
      }
    }
  }
}

}  // namespace tandem
