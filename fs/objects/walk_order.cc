#include "fs/objects/walk_order.h"

#include <algorithm>

#include "fs/objects/tuning.h"

namespace tandem::fs {
namespace {

using meta::Intent;

constexpr size_t kSlots = 2 * kMaxListed;

}  // namespace

void WalkOrder::Add(std::span<const Listed> objects) {
  if (objects.empty()) return;
  MutexLock lock(mutex_);
  ++reads_;
  for (const Listed& listed : objects) {
    if (seen_.size() < kMaxListed) seen_.emplace_back();
    seen_[next_] = {*listed.object, reads_, listed.is_directory, {}};
    SlotOf(listed.object->id) = static_cast<uint32_t>(next_);
    next_ = (next_ + 1) % kMaxListed;
  }
}

std::vector<meta::ObjectRef> WalkOrder::LikelyNext(const Intent::Item& touched,
                                                   Clock::time_point now) {
  std::vector<meta::ObjectRef> next;
  if (touched.touch == Intent::Touch::kData) return next;
  const Kind kind = touched.touch == Intent::Touch::kEntries ? kEntries : kAttributes;
  MutexLock lock(mutex_);
  const size_t at = SlotOf(touched.object->id);
  if (at >= seen_.size() || seen_[at].object.id != touched.object->id) return next;
  Walk& walk = walks_[kind];
  const bool goes_on = now - walk.last < kWalkPause && Continues(at, kind);
  walk.steps = goes_on ? std::min(2 * walk.steps + 1, kMaxMarkedAhead) : 0;
  walk.last = now;
  seen_[at].passed[kind] = true;
  for (ptrdiff_t step = 1; next.size() < walk.steps; ++step) {
    Seen* seen = Neighbour(at, step);
    if (seen == nullptr) break;
    seen->passed[kind] = true;
    if (kind == kAttributes || seen->is_directory) next.push_back(seen->object);
  }
  return next;
}

uint32_t& WalkOrder::SlotOf(const ObjectId& object) {
  if (slots_.empty()) slots_.resize(kSlots);
  return slots_[std::hash<ObjectId>()(object) % kSlots];
}

WalkOrder::Seen* WalkOrder::Neighbour(size_t at, ptrdiff_t steps) {
  const size_t size = seen_.size();
  const size_t oldest = size < kMaxListed ? 0 : next_;
  const ptrdiff_t age = static_cast<ptrdiff_t>((at + size - oldest) % size) + steps;
  if (age < 0 || age >= static_cast<ptrdiff_t>(size)) return nullptr;
  Seen& seen = seen_[(oldest + static_cast<size_t>(age)) % size];
  return seen.read == seen_[at].read ? &seen : nullptr;
}

bool WalkOrder::Continues(size_t at, Kind kind) {
  bool is_first = true;
  for (ptrdiff_t back = 1; back <= static_cast<ptrdiff_t>(kMaxMarkedAhead); ++back) {
    const Seen* seen = Neighbour(at, -back);
    if (seen == nullptr) return is_first;
    // Objects in between may have needed no mark: a directory may be empty.
    if (seen->passed[kind]) return true;
    if (kind == kAttributes || seen->is_directory) is_first = false;
  }
  return false;
}

}  // namespace tandem::fs
