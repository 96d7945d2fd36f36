// Alterations that go on outside the gate (straddlers.h).
#include "meta/tracker.h"

namespace tandem::meta {

Operation::Alteration::Alteration(Operation& operation, const ObjectRef& file, ByteRange range)
    : operation_(operation) {
  Tracker* const tracker = operation.tracker_;
  if (tracker == nullptr) return;
  begun_ = std::chrono::steady_clock::now();
  if (!operation.may_straddle_) return;
  entry_ = {.file = &file, .range = range, .begun = tracker->open_epoch()};
  tracker->RecordStraddler(entry_);
  tracker->straddlers_.Add(entry_);
  outside_ = true;
  tracker->gate_.Leave(operation.gate_slot_);
  operation.in_gate_ = false;
}

Operation::Alteration::~Alteration() {
  Tracker* const tracker = operation_.tracker_;
  if (tracker == nullptr) return;
  const auto now = std::chrono::steady_clock::now();
  tracker->slow_disk_.Note(now - begun_, now);
  if (!outside_) return;
  operation_.gate_slot_ = tracker->gate_.Enter();
  operation_.in_gate_ = true;
  tracker->straddlers_.Remove(entry_);
}

// Nobody is woken for it: a cut has it if one is taken for another reason.
void Tracker::RecordStraddler(const Straddlers::Entry& entry) {
  Shard& shard = ShardFor(entry.file->id);
  MutexLock lock(shard.mutex);
  ObjectChange& change = OpenChange(shard, *entry.file);
  const size_t ranges = change.data.count();
  change.AddData(entry.range);
  open_ranges_ += static_cast<int64_t>(change.data.count() - ranges);
  change.attributes |= kStatAttributes;
}

}  // namespace tandem::meta
