#include "meta/change/change_set.h"

#include <algorithm>

namespace tandem::meta {
namespace {

// If an object has more ranges than this, the nearest are merged. 4096 ranges take 200 KiB of
// memory, and to a replica so far behind, sending the gaps as well costs little.
constexpr size_t kMaxRanges = 4096;

}  // namespace

void ObjectChange::AddData(ByteRange range) {
  data.Add(range);
  rewritten |= range == ByteRange::Whole();
  if (data.count() > kMaxRanges) data.Coarsen(kMaxRanges / 2);
  if (range.end != ByteRange::kEndOfFile) extent = std::max(extent, range.end);
}

void ObjectChange::AddWhole() {
  whole = true;
  attributes = kAllAttributes;
  data.Clear();
  data.Add(ByteRange::Whole());
}

bool ObjectChange::SetEntry(std::string_view name, ObjectId child, ObjectId replaced) {
  const auto [entry, is_new] = entries.try_emplace(std::string(name), EntryChange{child, replaced});
  if (!is_new) entry->second.child = child;
  return is_new;
}

void ObjectChange::MergeNewer(const ObjectChange& newer) {
  if (handle.empty()) handle = newer.handle;
  data.AddAll(newer.data);
  if (data.count() > kMaxRanges) data.Coarsen(kMaxRanges / 2);
  extent = std::max(extent, newer.extent);
  suspect.AddAll(newer.suspect);
  attributes |= newer.attributes;
  whole |= newer.whole;
  rewritten |= newer.rewritten;
  born |= newer.born;
  listing |= newer.listing;
  for (const auto& [name, entry] : newer.entries) SetEntry(name, entry.child, entry.replaced);
}

void MergeNewer(ChangeSet& older, const ChangeSet& newer) {
  for (const auto& [object, change] : newer) older[object].MergeNewer(change);
}

void PendingCounts::Add(const ObjectChange& change) {
  if (change.empty()) return;
  ++objects;
  ranges += change.data.count() + change.suspect.count();
  entries += change.entries.size() + (change.listing ? 1 : 0);
  // A range up to kEndOfFile does not tell how many bytes it covers; count it up to `extent`.
  for (const RangeSet* set : {&change.data, &change.suspect}) {
    for (const ByteRange& range : set->ToVector()) {
      const bool is_open = range.end == ByteRange::kEndOfFile;
      bytes += is_open ? ByteRange{range.start, change.extent}.length() : range.length();
    }
  }
}

void PendingCounts::Add(const PendingCounts& other) {
  bytes += other.bytes;
  ranges += other.ranges;
  entries += other.entries;
  objects += other.objects;
}

void PendingCounts::RaiseTo(const PendingCounts& other) {
  bytes = std::max(bytes, other.bytes);
  ranges = std::max(ranges, other.ranges);
  entries = std::max(entries, other.entries);
  objects = std::max(objects, other.objects);
}

void PendingCounts::Subtract(const PendingCounts& other) {
  bytes -= std::min(bytes, other.bytes);
  ranges -= std::min(ranges, other.ranges);
  entries -= std::min(entries, other.entries);
  objects -= std::min(objects, other.objects);
}

}  // namespace tandem::meta
