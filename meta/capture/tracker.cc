#include "meta/capture/tracker.h"

#include <algorithm>
#include <utility>

#include "meta/base/fault_point.h"

namespace tandem::meta {

Tracker::Tracker(const SourceTree& tree, StateWriter& writer, Spill& spill, Recovered recovered)
    : tree_(tree),
      open_(recovered.open_epoch, std::move(recovered.open)),
      sync_(tree, writer, open_.straddlers),
      marks_(tree, writer, open_.epoch, sync_),
      epochs_(tree, writer, spill, open_, sync_, std::move(recovered.layers),
              std::move(recovered.cuts)),
      deferred_(writer, [this](const ObjectRef& object,
                               const ObjectChange& change) { return RecordAgain(object, change); }),
      cooling_(writer, marks_, epochs_, sync_, deferred_, tree.by_names() != nullptr,
               std::move(recovered.recently_changed)) {
  if (tree_.by_names() != nullptr) tree_.by_names()->SetSettle([this] { return Settle(); });
  cooling_.Start();
}

Tracker::~Tracker() {
  if (tree_.by_names() != nullptr) tree_.by_names()->SetSettle({});
  EndBackgroundWork();
}

Status Tracker::Stop() {
  EndBackgroundWork();
  return EndWindow(/*all=*/true);
}

void Tracker::EndBackgroundWork() {
  epochs_.Stop();
  WakeAll();
  cooling_.Stop();
}

Result<Operation> Tracker::Begin(const Intent& intent, TouchPredictor* predictor, bool alters) {
  Operation operation(this);
  Marks::Requests missing;
  // Then it may go on into epochs in which its object is a newborn no longer.
  operation.may_straddle_ = alters && (intent.is_long() || slow_disk_.IsSlow());
  while (true) {
    const Epoch epoch = open_.epoch.number();
    bool relies_on_birth = false;
    for (const Intent::Item& item : intent) {
      const bool content = item.touch == Intent::Touch::kData;
      const bool may_rely_on_birth = !(content && operation.may_straddle_);
      if (!marks_.PinAndTouch(item, may_rely_on_birth, operation.pins_, missing)) {
        relies_on_birth = true;
      }
    }
    if (!missing.empty()) {
      Marks::PinSet next(marks_);  // until it has been marked
      if (predictor != nullptr) marks_.TouchNext(intent, *predictor, missing, next);
      RETURN_IF_ERROR(marks_.Make(std::exchange(missing, {})));
    }
    operation.gate_slot_ = open_.gate.Enter();
    operation.in_gate_ = true;
    FAULT_POINT("source.operation.in_gate");
    // An object needs no mark in the epoch of its birth; if that has just ended, it does.
    if (!relies_on_birth || open_.epoch.number() == epoch) {
      if (alters && !open_.cuts_in_flight.empty()) open_.cuts_in_flight.Preserve(intent);
      return operation;
    }
    operation.Leave();
  }
}

Status Tracker::MarkAhead(const std::vector<Intent>& intents) {
  std::vector<Pins> pinned(intents.size());
  Marks::Requests missing;
  for (size_t i = 0; i < intents.size(); ++i) {
    for (const Intent::Item& item : intents[i]) {
      (void)marks_.PinAndTouch(item, /*may_rely_on_birth=*/true, pinned[i], missing);
    }
  }
  Status made = missing.empty() ? Status() : marks_.Make(missing);
  for (const Pins& pins : pinned) {
    for (int i = 0; i < pins.count; ++i) marks_.Unpin(pins.items[i]);
  }
  return made;
}

Result<UniqueFd> Tracker::Open(const ObjectRef& object) {
  ASSIGN_OR_RETURN(std::optional<UniqueFd> fd, tree_.OpenPath(object));
  if (!fd) return ErrnoError(ESTALE, "open an object that is gone");
  return std::move(*fd);
}

void Tracker::Saw(const ObjectRef& directory, std::string_view name, const ObjectRef& object) {
  if (Whereabouts* known = whereabouts()) known->Note(object.id, directory.id, name);
}

void Tracker::SawNameless(const ObjectRef& object) {
  if (Whereabouts* known = whereabouts()) known->NoteNameless(object.id);
}

void Tracker::NoteEntry(const ObjectId& directory, std::string_view name, const ObjectId& child,
                        const ObjectId& replaced, const ObjectId& losing) {
  Whereabouts* const known = whereabouts();
  if (known == nullptr || child == replaced) return;
  if (!child.is_null()) known->NoteNameAdded(child, directory, name);
  if (replaced.is_null()) return;
  using OtherNames = Whereabouts::OtherNames;
  known->NoteNameRemoved(replaced, directory, name,
                         replaced == losing ? OtherNames::kNone : OtherNames::kMaybe);
}

Status Tracker::RecordAgain(const ObjectRef& object, const ObjectChange& change) {
  for (const ByteRange& range : change.data.ToVector()) {
    ASSIGN_OR_RETURN(Operation operation,
                     Begin(Intent().Data(object, range), nullptr, /*alters=*/false));
    operation.Wrote(object, range);
  }
  if (change.listing) {
    ASSIGN_OR_RETURN(Operation operation,
                     Begin(Intent().Entries(object), nullptr, /*alters=*/false));
    operation.ChangedNames(object);
  }
  if (change.whole || change.attributes != kNoAttributes) {
    ASSIGN_OR_RETURN(Operation operation,
                     Begin(Intent().Attributes(object), nullptr, /*alters=*/false));
    operation.ChangedAttributes(object, kAllAttributes);
  }
  return {};
}

// Changes move between what is deferred and the epochs while this looks: from there, when they are
// recorded once more, and to there, when a cut goes without them. So it looks at what is deferred
// before and after: it may see a change twice, but never misses one.
std::optional<int64_t> Tracker::OldestChangeAfter(Epoch epoch) {
  std::optional<int64_t> oldest = deferred_.OldestNs();
  for (const auto other : {epochs_.OldestChangeAfter(epoch), deferred_.OldestNs()}) {
    if (other) oldest = std::min(oldest.value_or(*other), *other);
  }
  return oldest;
}

PendingCounts Tracker::PendingAfter(Epoch epoch) {
  PendingCounts deferred;
  deferred_.CountPending(deferred);
  PendingCounts counts;
  epochs_.CountPendingAfter(epoch, counts);
  PendingCounts deferred_now;
  deferred_.CountPending(deferred_now);
  deferred.RaiseTo(deferred_now);
  counts.Add(deferred);
  return counts;
}

}  // namespace tandem::meta
