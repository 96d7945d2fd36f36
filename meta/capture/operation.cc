// What an operation records while it runs.
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "meta/base/fault_point.h"
#include "meta/capture/tracker.h"
#include "meta/capture/tuning.h"

namespace tandem::meta {
Operation::Operation(Operation&& other) noexcept { *this = std::move(other); }

Operation& Operation::operator=(Operation&& other) noexcept {
  if (this == &other) return *this;
  End();
  tracker_ = std::exchange(other.tracker_, nullptr);
  pins_ = std::exchange(other.pins_, {});
  gate_slot_ = other.gate_slot_;
  losing_last_name_ = other.losing_last_name_;
  in_gate_ = std::exchange(other.in_gate_, false);
  may_straddle_ = other.may_straddle_;
  return *this;
}

void Operation::Wrote(const ObjectRef& file, ByteRange range) {
  if (tracker_ == nullptr) return;
  FAULT_POINT("source.operation.after_call");
  tracker_->open_.epoch.Record(file, [range](ObjectChange& change) {
    change.AddData(range);
    change.attributes |= kStatAttributes;
  });
  tracker_->cooling_.NoteWritten(std::min(range.length(), kMaxWrittenCounted));
  tracker_->open_.signal.NoteChange();
}

void Operation::ChangedAttributes(const ObjectRef& object, AttributeMask mask) {
  if (tracker_ == nullptr) return;
  FAULT_POINT("source.operation.after_call");
  tracker_->open_.epoch.Record(object, [mask](ObjectChange& change) { change.attributes |= mask; });
  tracker_->open_.signal.NoteChange();
}

void Operation::SetEntry(const ObjectRef& directory, std::string_view name, ObjectId child,
                         ObjectId replaced) {
  if (tracker_ == nullptr) return;
  FAULT_POINT("source.operation.after_call");
  tracker_->open_.epoch.Record(directory, [&](ObjectChange& change) {
    change.SetEntry(name, child, replaced);
    change.attributes |= kStatAttributes;
  });
  tracker_->NoteEntry(directory.id, name, child, replaced, losing_last_name_);
  tracker_->open_.signal.NoteChange();
}

void Operation::ChangedNames(const ObjectRef& directory) {
  if (tracker_ == nullptr) return;
  tracker_->open_.epoch.Record(directory, [](ObjectChange& change) { change.listing = true; });
  tracker_->open_.signal.NoteChange();
}

void Operation::Born(const ObjectRef& object) {
  if (tracker_ == nullptr) return;
  tracker_->open_.epoch.Record(object, [](ObjectChange& change) {
    change.AddWhole();
    change.born = true;
  });
  tracker_->open_.signal.NoteChange();
}

void Operation::ChangedWholly(const ObjectRef& object) {
  if (tracker_ == nullptr) return;
  tracker_->open_.epoch.Record(object, [](ObjectChange& change) { change.AddWhole(); });
  tracker_->open_.signal.NoteChange();
}

void Operation::Unlinking(ObjectId object, int path_fd) {
  if (tracker_ == nullptr) return;
  tracker_->open_.cuts_in_flight.PreserveUnlinked(object, path_fd);
  if (tracker_->whereabouts() == nullptr) return;
  struct stat attributes;
  if (fstatat(path_fd, "", &attributes, AT_EMPTY_PATH) != 0) return;
  if (S_ISDIR(attributes.st_mode) || attributes.st_nlink <= 1) losing_last_name_ = object;
}

void Operation::Leave() {
  if (tracker_ == nullptr) return;
  if (std::exchange(in_gate_, false)) {
    FAULT_POINT("source.operation.recorded");
    tracker_->open_.gate.Leave(gate_slot_);
  }
  for (; pins_.count > 0; --pins_.count) tracker_->marks_.Unpin(pins_.items[pins_.count - 1]);
}

void Operation::End() {
  Leave();
  tracker_ = nullptr;
}

// ---- Alterations outside the gate (meta/capture/straddlers.h) ----

Operation::Alteration::Alteration(Operation& operation, const ObjectRef& file, ByteRange range)
    : operation_(operation) {
  Tracker* const tracker = operation.tracker_;
  if (tracker == nullptr) return;
  begun_ = std::chrono::steady_clock::now();
  if (!operation.may_straddle_) return;
  entry_ = {.file = &file,
            .range = range,
            .begun = tracker->open_.epoch.number(),
            .begun_at = std::chrono::system_clock::now()};
  tracker->open_.RecordStraddler(entry_);
  tracker->open_.straddlers.Add(entry_);
  outside_ = true;
  tracker->open_.gate.Leave(operation.gate_slot_);
  operation.in_gate_ = false;
}

Operation::Alteration::~Alteration() {
  Tracker* const tracker = operation_.tracker_;
  if (tracker == nullptr) return;
  const auto now = std::chrono::steady_clock::now();
  tracker->slow_disk_.Note(now - begun_, now);
  if (!outside_) return;
  operation_.gate_slot_ = tracker->open_.gate.Enter();
  operation_.in_gate_ = true;
  tracker->open_.straddlers.Remove(entry_);
}

}  // namespace tandem::meta
