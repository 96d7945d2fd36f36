#include "meta/capture/marks.h"

#include <algorithm>
#include <utility>

#include "meta/base/fault_point.h"

namespace tandem::meta {

bool Marks::PinAndTouch(const Intent::Item& item, bool may_rely_on_birth, Pins& pins,
                        Requests& missing) {
  if (may_rely_on_birth && open_.IsNewborn(item.object->id)) return false;
  Shard& shard = ShardFor(item.object->id);
  const uint64_t syncs = sync_.syncs();
  {
    MutexLock lock(shard.mutex);
    HotEntry& entry =
        shard.hot.try_emplace(item.object->id, HotEntry{*item.object, {}}).first->second;
    entry.foreseen = false;
    HotObject& marks = entry.marks;
    pins.items[pins.count++] = {item.object->id, marks.Pin()};
    const auto add = [&missing, &item](const std::vector<HotRegion>& regions) {
      for (const HotRegion region : regions) missing.push_back({*item.object, region, false});
      return true;
    };
    if (item.touch == Intent::Touch::kAttributes) return add(marks.TouchAttributes());
    if (item.touch == Intent::Touch::kEntries) return add(marks.TouchEntries());
    if (const auto known = marks.ExistingBytes(syncs)) {
      TouchData(item, *known, marks, missing);
      return true;
    }
  }
  // Once a file and sync. If it cannot be found out, all of it may exist.
  const uint64_t existing = tree_.SizeOf(*item.object).value_or(ByteRange::kEndOfFile);
  MutexLock lock(shard.mutex);
  HotObject& marks = shard.hot.at(item.object->id).marks;  // pinned
  if (!marks.ExistingBytes(syncs)) marks.SetExistingBytes(existing, syncs);
  TouchData(item, existing, marks, missing);
  return true;
}

void Marks::TouchNext(const Intent& intent, TouchPredictor& predictor, Requests& missing,
                      PinSet& pins) {
  const Requests asked = missing;
  for (const Intent::Item& item : intent) {
    const auto is_of_item = [&item](const Request& request) {
      return request.object.id == item.object->id;
    };
    if (std::ranges::none_of(asked, is_of_item)) continue;
    for (const ObjectRef& next : predictor.LikelyNext(item)) {
      if (open_.IsNewborn(next.id)) continue;
      Shard& shard = ShardFor(next.id);
      MutexLock lock(shard.mutex);
      HotObject& marks = shard.hot.try_emplace(next.id, HotEntry{next, {}}).first->second.marks;
      const auto regions =
          item.touch == Intent::Touch::kEntries ? marks.TouchEntries() : marks.TouchAttributes();
      for (const HotRegion region : regions) {
        pins.Add(next.id, marks);
        missing.push_back({next, region, false});
      }
    }
  }
}

// Bytes that may be on the source's disk and are overwritten there: after a power cut the new ones
// may be there too, with nothing else to tell. So their mark must be on disk first.
void Marks::TouchData(const Intent::Item& item, uint64_t existing_bytes, HotObject& marks,
                      Requests& missing) {
  const std::vector<HotRegion> unmarked = marks.TouchData(item.range);
  const ByteRange in_place{item.range.start, std::min(item.range.end, existing_bytes)};
  const std::vector<HotRegion> undurable = marks.WithoutDurableMark(in_place);
  for (const HotRegion region : undurable) missing.push_back({*item.object, region, true});
  for (const HotRegion region : marks.TouchAhead(undurable, existing_bytes)) {
    missing.push_back({*item.object, region, true});
  }
  for (const HotRegion region : unmarked) {
    if (std::ranges::find(undurable, region) == undurable.end()) {
      missing.push_back({*item.object, region, false});
    }
  }
}

Status Marks::Make(const Requests& requests) {
  FAULT_POINT("source.mark.before_commit");
  using MarkKind = StateDatabase::MarkKind;
  const bool durable = std::ranges::any_of(requests, &Request::durable);
  RETURN_IF_ERROR(writer_.Do(
      [&requests](StateDatabase& database) -> Status {
        for (const Request& request : requests) {
          RETURN_IF_ERROR(
              database.InsertHot(request.object, request.region,
                                 request.durable ? MarkKind::kDurable : MarkKind::kPlain));
        }
        return {};
      },
      durable ? StateWriter::Durability::kPowerCut : StateWriter::Durability::kKill));
  FAULT_POINT("source.mark.after_commit");
  // Pinned, so the entries are still there; a cooling in between leaves unmarked regions alone.
  for (const Request& request : requests) {
    Shard& shard = ShardFor(request.object.id);
    MutexLock lock(shard.mutex);
    shard.hot.at(request.object.id).marks.Marked(request.region, request.durable);
  }
  return {};
}

void Marks::Unpin(const Pin& pin) {
  Shard& shard = ShardFor(pin.object);
  MutexLock lock(shard.mutex);
  if (const auto hot = shard.hot.find(pin.object); hot != shard.hot.end()) {
    hot->second.marks.Unpin(pin.parity);
  }
}

void Marks::PinSet::Add(const ObjectId& object, HotObject& marks) {
  pins_.push_back({object, 0});  // may fail, and must not once it is pinned
  pins_.back().parity = marks.Pin();
}

Marks::PinSet::~PinSet() {
  for (const Pin& pin : pins_) marks_.Unpin(pin);
}

bool Marks::empty() {
  return std::ranges::none_of(shards_, [](Shard& shard) {
    MutexLock lock(shard.mutex);
    return !shard.hot.empty();
  });
}

std::vector<ObjectId> Marks::InShard(size_t shard_index) {
  Shard& shard = shards_[shard_index];
  std::vector<ObjectId> objects;
  MutexLock lock(shard.mutex);
  objects.reserve(shard.hot.size());
  for (const auto& [id, entry] : shard.hot) objects.push_back(id);
  return objects;
}

std::optional<Marks::Cooled> Marks::EndWindow(const ObjectId& object, bool all) {
  Shard& shard = ShardFor(object);
  MutexLock lock(shard.mutex);
  const auto found = shard.hot.find(object);
  if (found == shard.hot.end()) return std::nullopt;
  std::vector<HotRegion> regions = found->second.marks.EndWindow(all);
  if (regions.empty()) return std::nullopt;
  return Cooled{found->second.object, std::move(regions), found->second.foreseen};
}

void Marks::Restore(const Cooled& cooled) {
  Shard& shard = ShardFor(cooled.object.id);
  MutexLock lock(shard.mutex);
  shard.hot.try_emplace(cooled.object.id, HotEntry{cooled.object, {}})
      .first->second.marks.Restore(cooled.regions);
}

void Marks::ForgetUnused(size_t shard_index) {
  Shard& shard = shards_[shard_index];
  MutexLock lock(shard.mutex);
  std::erase_if(shard.hot, [](const auto& entry) { return entry.second.marks.unused(); });
}

size_t Marks::CountHot() {
  size_t count = 0;
  for (Shard& shard : shards_) {
    MutexLock lock(shard.mutex);
    count += static_cast<size_t>(
        std::count_if(shard.hot.begin(), shard.hot.end(),
                      [](const auto& entry) { return !entry.second.marks.cold(); }));
  }
  return count;
}

}  // namespace tandem::meta
