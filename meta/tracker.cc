#include "meta/tracker.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#include <algorithm>
#include <utility>

#include "meta/base/fault_point.h"

namespace tandem::meta {
namespace {

// Of a change's length as written bytes: more is a range whose end nobody knew.
constexpr uint64_t kMostCounted = 8 << 20;

int64_t NsBy(clockid_t clock) {
  timespec now;
  clock_gettime(clock, &now);
  return now.tv_sec * int64_t{1'000'000'000} + now.tv_nsec;
}

}  // namespace

int64_t WallTimeNs() { return NsBy(CLOCK_REALTIME); }
int64_t BootTimeNs() { return NsBy(CLOCK_BOOTTIME); }

Tracker::Tracker(const SourceTree& tree, StateWriter& writer, Spill& spill, Recovered recovered)
    : tree_(tree), writer_(writer), spill_(spill), open_epoch_(recovered.open_epoch.number()) {
  {
    MutexLock lock(layers_mutex_);
    layers_ = std::move(recovered.layers);
    cuts_ = std::move(recovered.cuts);
    if (!cuts_.empty()) recovered_cut_ = cuts_.back().name.epoch;
    recently_changed_.assign(recovered.recently_changed.begin(), recovered.recently_changed.end());
  }
  if (!recovered.open.empty()) {
    open_is_empty_ = false;
    MutexLock lock(change_mutex_);
    open_first_change_ns_ = recovered.open.first_change_ns;
  }
  open_weight_ = recovered.open.CountWeight();
  for (size_t i = 0; i < kShards; ++i) {
    MutexLock lock(shards_[i].mutex);
    shards_[i].open = std::move(recovered.open.shards[i]);
  }
  if (tree_.by_names() != nullptr) tree_.by_names()->SetSettle([this] { return Settle(); });
  ticker_ = std::thread([this] { RunTicks(); });
}

Tracker::~Tracker() {
  if (tree_.by_names() != nullptr) tree_.by_names()->SetSettle({});
  stopping_ = true;
  WakeAll();
  {
    MutexLock lock(tick_mutex_);
    tick_.NotifyAll();
  }
  if (ticker_.joinable()) ticker_.join();
}

Result<Operation> Tracker::Begin(const Intent& intent, Foresight* foresight, bool alters) {
  Operation operation(this);
  std::vector<MarkRequest> missing;
  // Then it may go on into epochs in which its object is a newborn no longer.
  operation.may_straddle_ = alters && (intent.is_long() || slow_disk_.IsSlow());
  while (true) {
    const uint64_t epoch = open_epoch_.load();
    bool relies_on_birth = false;
    for (const Intent::Item& item : intent) {
      const bool content = item.touch == Intent::Touch::kData;
      PinAndTouch(item, operation, missing,
                  content && operation.may_straddle_ ? nullptr : &relies_on_birth);
    }
    if (!missing.empty()) {
      Pins next(*this);  // until it has been marked
      if (foresight != nullptr) TouchNext(intent, *foresight, missing, next);
      RETURN_IF_ERROR(Mark(std::exchange(missing, {})));
    }
    operation.gate_slot_ = gate_.Enter();
    operation.in_gate_ = true;
    FAULT_POINT("source.operation.in_gate");
    // An object needs no mark in the epoch of its birth; if that has just ended, it does.
    if (!relies_on_birth || open_epoch_.load() == epoch) {
      if (alters && !in_flight_.empty()) Preserve(intent);
      return operation;
    }
    operation.Leave();
  }
}

void Tracker::PinAndTouch(const Intent::Item& item, Operation& operation,
                          std::vector<MarkRequest>& missing, bool* relies_on_birth) {
  Shard& shard = ShardFor(item.object->id);
  const uint64_t syncs = syncs_.load();
  uint64_t existing = 0;
  {
    MutexLock lock(shard.mutex);
    const auto change = shard.open.find(item.object->id);
    if (relies_on_birth != nullptr && change != shard.open.end() && change->second.born) {
      *relies_on_birth = true;
      return;
    }
    const auto hot = shard.hot.try_emplace(item.object->id, HotEntry{*item.object, {}}).first;
    hot->second.foreseen = false;
    HotObject& marks = hot->second.marks;
    operation.pins_[operation.pin_count_++] = {item.object->id, marks.Pin()};
    const auto add = [&missing, &item](const std::vector<HotRegion>& regions) {
      for (const HotRegion region : regions) missing.push_back({*item.object, region, false});
    };
    if (item.touch == Intent::Touch::kAttributes) return add(marks.TouchAttributes());
    if (item.touch == Intent::Touch::kEntries) return add(marks.TouchEntries());
    if (const auto known = marks.ExistingBytes(syncs)) {
      return TouchData(item, *known, marks, missing);
    }
  }
  // Once a file and sync. If it cannot be found out, all of it may exist.
  existing = tree_.SizeOf(*item.object).value_or(ByteRange::kEndOfFile);
  MutexLock lock(shard.mutex);
  HotObject& marks = shard.hot.at(item.object->id).marks;  // pinned
  if (!marks.ExistingBytes(syncs)) marks.SetExistingBytes(existing, syncs);
  TouchData(item, existing, marks, missing);
}

void Tracker::TouchNext(const Intent& intent, Foresight& foresight,
                        std::vector<MarkRequest>& missing, Pins& pins) {
  const std::vector<MarkRequest> asked = missing;
  for (const Intent::Item& item : intent) {
    const auto is_of_item = [&item](const MarkRequest& request) {
      return request.object.id == item.object->id;
    };
    if (std::ranges::none_of(asked, is_of_item)) continue;
    for (const ObjectRef& next : foresight.LikelyNext(item)) {
      Shard& shard = ShardFor(next.id);
      MutexLock lock(shard.mutex);
      const auto change = shard.open.find(next.id);
      if (change != shard.open.end() && change->second.born) continue;
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
void Tracker::TouchData(const Intent::Item& item, uint64_t existing_bytes, HotObject& marks,
                        std::vector<MarkRequest>& missing) {
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

Status Tracker::Mark(const std::vector<MarkRequest>& requests) {
  FAULT_POINT("source.mark.before_commit");
  using MarkKind = StateDatabase::MarkKind;
  const bool durable = std::ranges::any_of(requests, &MarkRequest::durable);
  RETURN_IF_ERROR(writer_.Do(
      [&requests](StateDatabase& database) -> Status {
        for (const MarkRequest& request : requests) {
          RETURN_IF_ERROR(
              database.InsertHot(request.object, request.region,
                                 request.durable ? MarkKind::kDurable : MarkKind::kPlain));
        }
        return {};
      },
      durable ? StateWriter::Durability::kPowerCut : StateWriter::Durability::kKill));
  FAULT_POINT("source.mark.after_commit");
  // Pinned, so the entries are still there; a cooling in between leaves unmarked regions alone.
  for (const MarkRequest& request : requests) {
    Shard& shard = ShardFor(request.object.id);
    MutexLock lock(shard.mutex);
    shard.hot.at(request.object.id).marks.Marked(request.region, request.durable);
  }
  return {};
}

void Tracker::Unpin(const ObjectId& object, uint8_t parity) {
  Shard& shard = ShardFor(object);
  MutexLock lock(shard.mutex);
  if (const auto hot = shard.hot.find(object); hot != shard.hot.end()) {
    hot->second.marks.Unpin(parity);
  }
}

void Tracker::Pins::Add(const ObjectId& object, HotObject& marks) {
  pins_.push_back({object, 0});  // may fail, and must not once it is pinned
  pins_.back().parity = marks.Pin();
}

Tracker::Pins::~Pins() {
  for (const Operation::Pin& pin : pins_) tracker_.Unpin(pin.object, pin.parity);
}

ObjectChange& Tracker::OpenChange(Shard& shard, const ObjectRef& object) {
  const auto [change, is_new] = shard.open.try_emplace(object.id);
  if (is_new) ++open_weight_;
  if (change->second.handle.empty()) change->second.handle = object.handle;
  return change->second;
}

void Tracker::NoteChange() {
  // The first change of an epoch wakes the senders; all others see the flag down and pass.
  if (!open_is_empty_.load() || !open_is_empty_.exchange(false)) return;
  MutexLock lock(change_mutex_);
  open_first_change_ns_ = BootTimeNs();
  ++wakes_;
  changed_.NotifyAll();
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
  if (!child.is_null()) known->NoteGiven(child, directory, name);
  if (replaced.is_null()) return;
  using Left = Whereabouts::Left;
  known->NoteTaken(replaced, directory, name,
                   replaced == losing ? Left::kNone : Left::kMaybeOthers);
}

void Tracker::KeepUnlinked(const ObjectId& object, int path_fd) {
  for (const auto& cut : in_flight_) cut->Keep(object, path_fd);
}

void Tracker::Preserve(const Intent& intent) {
  for (const auto& cut : in_flight_) {
    for (const Intent::Item& item : intent) {
      FrozenCut::Outcome outcome = cut->Preserve(item);
      while (outcome == FrozenCut::Outcome::kNoRoom) {
        // The oldest one goes first, so that a slow replica's does not cost the others theirs.
        const auto oldest = std::ranges::find_if(in_flight_, &FrozenCut::keeps);
        if (oldest == in_flight_.end()) break;
        (*oldest)->GiveUp();
        outcome = cut->Preserve(item);
      }
      if (outcome == FrozenCut::Outcome::kTooMuch) cut->GiveUp();
    }
  }
}

size_t Tracker::hot_objects() {
  size_t count = 0;
  for (Shard& shard : shards_) {
    MutexLock lock(shard.mutex);
    count += static_cast<size_t>(
        std::count_if(shard.hot.begin(), shard.hot.end(),
                      [](const auto& entry) { return !entry.second.marks.cold(); }));
  }
  return count;
}

uint64_t Tracker::Weight() {
  const auto ranges = static_cast<uint64_t>(std::max<int64_t>(0, open_ranges_.load()));
  uint64_t weight = open_weight_.load() + ranges / kRangesPerWeight;
  MutexLock lock(layers_mutex_);
  for (const auto& layer : layers_) weight += layer->weight;
  return weight;
}

// ---- Operation ---------------------------------------------------------------------------------

Operation::Operation(Operation&& other) noexcept { *this = std::move(other); }

Operation& Operation::operator=(Operation&& other) noexcept {
  if (this == &other) return *this;
  End();
  tracker_ = std::exchange(other.tracker_, nullptr);
  std::copy(std::begin(other.pins_), std::end(other.pins_), std::begin(pins_));
  pin_count_ = std::exchange(other.pin_count_, 0);
  gate_slot_ = other.gate_slot_;
  losing_ = other.losing_;
  in_gate_ = std::exchange(other.in_gate_, false);
  may_straddle_ = other.may_straddle_;
  return *this;
}

void Operation::Wrote(const ObjectRef& file, ByteRange range) {
  if (tracker_ == nullptr) return;
  FAULT_POINT("source.operation.after_call");
  {
    Tracker::Shard& shard = tracker_->ShardFor(file.id);
    MutexLock lock(shard.mutex);
    ObjectChange& change = tracker_->OpenChange(shard, file);
    const size_t ranges = change.data.count();
    change.AddData(range);
    tracker_->open_ranges_ += static_cast<int64_t>(change.data.count() - ranges);
    change.attributes |= kStatAttributes;
  }
  tracker_->written_since_tick_ += std::min(range.length(), kMostCounted);
  tracker_->NoteChange();
}

void Operation::ChangedAttributes(const ObjectRef& object, AttributeMask mask) {
  if (tracker_ == nullptr) return;
  FAULT_POINT("source.operation.after_call");
  {
    Tracker::Shard& shard = tracker_->ShardFor(object.id);
    MutexLock lock(shard.mutex);
    tracker_->OpenChange(shard, object).attributes |= mask;
  }
  tracker_->NoteChange();
}

void Operation::SetEntry(const ObjectRef& directory, std::string_view name, ObjectId child,
                         ObjectId replaced) {
  if (tracker_ == nullptr) return;
  FAULT_POINT("source.operation.after_call");
  {
    Tracker::Shard& shard = tracker_->ShardFor(directory.id);
    MutexLock lock(shard.mutex);
    ObjectChange& change = tracker_->OpenChange(shard, directory);
    if (change.SetEntry(name, child, replaced)) ++tracker_->open_weight_;
    change.attributes |= kStatAttributes;
  }
  tracker_->NoteEntry(directory.id, name, child, replaced, losing_);
  tracker_->NoteChange();
}

void Operation::ChangedNames(const ObjectRef& directory) {
  if (tracker_ == nullptr) return;
  {
    Tracker::Shard& shard = tracker_->ShardFor(directory.id);
    MutexLock lock(shard.mutex);
    tracker_->OpenChange(shard, directory).listing = true;
  }
  tracker_->NoteChange();
}

void Operation::Born(const ObjectRef& object) {
  if (tracker_ == nullptr) return;
  {
    Tracker::Shard& shard = tracker_->ShardFor(object.id);
    MutexLock lock(shard.mutex);
    ObjectChange& change = tracker_->OpenChange(shard, object);
    change.AddWhole();
    change.born = true;
  }
  tracker_->NoteChange();
}

void Operation::ChangedWholly(const ObjectRef& object) {
  if (tracker_ == nullptr) return;
  {
    Tracker::Shard& shard = tracker_->ShardFor(object.id);
    MutexLock lock(shard.mutex);
    tracker_->OpenChange(shard, object).AddWhole();
  }
  tracker_->NoteChange();
}

void Operation::Unlinking(ObjectId object, int path_fd) {
  if (tracker_ == nullptr) return;
  tracker_->KeepUnlinked(object, path_fd);
  if (tracker_->whereabouts() == nullptr) return;
  struct stat attributes;
  if (fstatat(path_fd, "", &attributes, AT_EMPTY_PATH) != 0) return;
  if (S_ISDIR(attributes.st_mode) || attributes.st_nlink <= 1) losing_ = object;
}

void Operation::Leave() {
  if (tracker_ == nullptr) return;
  if (std::exchange(in_gate_, false)) {
    FAULT_POINT("source.operation.recorded");
    tracker_->gate_.Leave(gate_slot_);
  }
  for (; pin_count_ > 0; --pin_count_) {
    const Pin& pin = pins_[pin_count_ - 1];
    tracker_->Unpin(pin.object, pin.parity);
  }
}

void Operation::End() {
  Leave();
  tracker_ = nullptr;
}

}  // namespace tandem::meta
