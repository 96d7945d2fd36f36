#include "replica/apply/staged_index.h"

#include <algorithm>

namespace tandem::replica {
namespace {

// A record of an object, or content of one.
struct Item {
  ObjectId id;
  uint64_t position = 0;  // among all records of the stage
  uint64_t record = 0;
  ByteRange range;  // empty: a record
};

std::vector<Item> ItemsOf(const std::vector<const Outline*>& outlines) {
  std::vector<Item> items;
  uint64_t first = 0;
  for (const Outline* outline : outlines) {
    for (const Outline::Object& object : outline->objects) {
      const uint64_t position = first + object.index;
      // One that comes again repeats the last one.
      if (!object.again) items.push_back({object.object, position, object.digest, {}});
      if (object.with_content) {
        items.push_back({object.object, position + 1, 0, {0, object.size}});
      }
    }
    for (const Outline::Data& data : outline->data) {
      if (!data.range.empty()) {
        items.push_back({data.object, first + data.index, 0, data.range});
      }
    }
    first += outline->record_count;
  }
  std::ranges::sort(items, [](const Item& a, const Item& b) {
    return a.id != b.id ? a.id < b.id : a.position < b.position;
  });
  return items;
}

}  // namespace

StagedIndex::StagedIndex(const std::vector<const Outline*>& outlines) {
  const std::vector<Item> items = ItemsOf(outlines);
  for (auto at = items.begin(); at != items.end();) {
    const auto end =
        std::find_if(at, items.end(), [at](const Item& item) { return item.id != at->id; });
    const auto is_record = [](const Item& item) { return item.range.empty(); };
    const auto last =
        std::find_if(std::make_reverse_iterator(end), std::make_reverse_iterator(at), is_record);
    Object object;
    object.id = at->id;
    object.first_range = static_cast<uint32_t>(ranges_.size());
    if (last.base() != at) {
      object.record = std::prev(last.base())->record;
      RangeSet content;
      for (auto data = last.base(); data != end; ++data) content.Add(data->range);
      for (const ByteRange& range : content.ToVector()) ranges_.push_back(range);
    }
    object.range_count = static_cast<uint32_t>(ranges_.size()) - object.first_range;
    objects_.push_back(object);
    at = end;
  }
  objects_.shrink_to_fit();
  ranges_.shrink_to_fit();
}

uint64_t StagedIndex::content_bytes() const {
  uint64_t bytes = 0;
  for (const ByteRange& range : ranges_) bytes += range.length();
  return bytes;
}

StagedObject StagedIndex::Find(ObjectId object, size_t most_ranges) const {
  const auto found = std::ranges::lower_bound(objects_, object, {}, &Object::id);
  if (found == objects_.end() || found->id != object) return {};
  StagedObject staged;
  staged.known = true;
  staged.record = found->record;
  const auto first = ranges_.begin() + found->first_range;
  const size_t count = std::min<size_t>(found->range_count, most_ranges);
  staged.ranges.assign(first, first + static_cast<ptrdiff_t>(count));
  return staged;
}

}  // namespace tandem::replica
