// Cuts: ending epochs, keeping their layers, dropping what every replica has.
#include <time.h>

#include <algorithm>
#include <utility>

#include "meta/base/fault_point.h"
#include "meta/base/log.h"
#include "meta/epoch_limit.h"
#include "meta/gate_patience.h"
#include "meta/tracker.h"

namespace tandem::meta {
namespace {

// A cut that waits for running operations this long is worth a line in the log.
constexpr std::chrono::seconds kLongWait{10};

// More layers than this are merged, oldest first: a replica far behind needs them all anyway.
constexpr size_t kMaxLayers = 16;

// Cuts are forgotten so many at a time, and never the newest: a sender that has just taken one has
// not said yet for which replica.
constexpr size_t kForgottenAtOnce = 32;
constexpr size_t kNewestCuts = 16;

void Pause(std::chrono::milliseconds time) {
  const timespec pause{time.count() / 1000, (time.count() % 1000) * 1'000'000};
  nanosleep(&pause, nullptr);
}

}  // namespace

Result<std::shared_ptr<FrozenCut>> Tracker::TakeCut(Epoch after, CutMode mode) {
  MutexLock cut_lock(cut_mutex_);
  RETURN_IF_ERROR(StoreCut());  // an earlier one that failed
  ASSIGN_OR_RETURN(std::shared_ptr<FrozenCut> cut, Freeze(after, mode));
  FAULT_POINT("source.cut.frozen");
  if (const Status stored = StoreCut(); !stored) {
    cut->GiveUp();
    return tl::unexpected<Error>(stored.error());
  }
  MergeOldLayers();
  // Operations keep things for it only as long as somebody is there to read it.
  FrozenCut* const frozen = cut.get();
  return std::shared_ptr<FrozenCut>(frozen, [cut = std::move(cut)](FrozenCut*) { cut->GiveUp(); });
}

Status Tracker::StoreCut() {
  if (!unstored_cut_) return {};
  const CutRecord cut = *unstored_cut_;
  RETURN_IF_ERROR(writer_.Do([&cut](StateDatabase& database) { return database.InsertCut(cut); }));
  FAULT_POINT("source.cut.stored");
  MutexLock lock(layers_mutex_);
  cuts_.push_back(cut);
  unstored_cut_.reset();
  return {};
}

template <typename Task>
Status Tracker::WithGateClosed(Task&& task) {
  const auto begun = CondVar::Clock::now();
  bool said = false;
  for (GatePatience tries;; Pause(tries.Failed())) {
    // The lock comes first: its holder may be at work on millions of objects, and the writers need
    // not wait for that. But a long try would hold up other users of the lock, so it goes without.
    if (tries.IsShort()) {
      MutexLock lock(layers_mutex_);
      if (gate_.Close(tries.patience())) {
        task();
        gate_.Open();
        return {};
      }
    } else if (gate_.Close(tries.patience())) {
      MutexLock lock(layers_mutex_);
      task();
      gate_.Open();
      break;
    }
    if (stopping_) return MakeError(ErrorKind::kCancelled, "take a cut: stopping");
    if (!said && CondVar::Clock::now() - begun >= kLongWait) {
      said = true;
      LogWarning("a cut waits for operations that the source's disk has held up for {} s",
                 kLongWait.count());
    }
  }
  if (said) {
    LogInfo(
        "the cut that waited for the source's disk has come after {} s",
        std::chrono::duration_cast<std::chrono::seconds>(CondVar::Clock::now() - begun).count());
  }
  return {};
}

// The gate is closed only for this: nothing in between waits, copies or frees much.
Result<std::shared_ptr<FrozenCut>> Tracker::Freeze(Epoch after, CutMode mode) {
  auto layer = std::make_shared<Layer>();
  layer->cut.name.id = CutId::Random();
  std::vector<std::shared_ptr<FrozenCut>> ended;
  std::shared_ptr<FrozenCut> cut;
  RETURN_IF_ERROR(WithGateClosed([&]() REQUIRES(cut_mutex_, layers_mutex_) {
    // What the last run recorded after its newest cut belongs to none yet.
    const bool needs_new =
        mode == CutMode::kFresh || !open_is_empty_.load() || cuts_.empty() ||
        (!layers_.empty() && layers_.back()->cut.name.epoch > cuts_.back().name.epoch);
    if (needs_new) {
      CloseEpoch(*layer);
      unstored_cut_ = layer->cut;
      layers_.push_back(layer);
    }
    cut = std::make_shared<FrozenCut>(needs_new ? layer->cut : cuts_.back(), LayersAfter(after),
                                      tree_, spill_);
    const auto kept = std::stable_partition(in_flight_.begin(), in_flight_.end(),
                                            [](const auto& old) { return old->keeps(); });
    ended.assign(kept, in_flight_.end());
    in_flight_.erase(kept, in_flight_.end());
    in_flight_.push_back(cut);
  }));
  return cut;
}

void Tracker::CloseEpoch(Layer& layer) {
  layer.cut.name.epoch = Epoch(open_epoch_.load());
  layer.cut.wall_time_ns = WallTimeNs();
  const auto ranges = static_cast<uint64_t>(std::max<int64_t>(0, open_ranges_.exchange(0)));
  layer.weight = open_weight_.exchange(0) + ranges / kRangesPerWeight;
  for (size_t i = 0; i < kShards; ++i) {
    MutexLock shard_lock(shards_[i].mutex);
    std::swap(layer.shards[i], shards_[i].open);
  }
  // In this order: see NewestChange.
  {
    MutexLock lock(change_mutex_);
    layer.first_change_ns = std::exchange(open_first_change_ns_, 0);
    open_is_empty_ = true;
  }
  open_epoch_ = layer.cut.name.epoch.Next().number();
  straddlers_.ForEach([this](const Straddlers::Entry& entry) { RecordStraddler(entry); });
}

// The two neighbours that are the smallest together: a layer of millions of objects is copied only
// when there is another as large beside it. Layers are changed under cut_mutex_ only, so that they
// can be read here without the other lock.
void Tracker::MergeOldLayers() {
  while (true) {
    std::vector<std::shared_ptr<const Layer>> layers;
    {
      MutexLock lock(layers_mutex_);
      if (layers_.size() <= kMaxLayers) return;
      layers = layers_;
    }
    size_t smallest = 0;
    const auto size = [&layers](size_t i) {
      return layers[i]->object_count() + layers[i + 1]->object_count();
    };
    for (size_t i = 1; i + 1 < layers.size(); ++i) {
      if (size(i) < size(smallest)) smallest = i;
    }
    auto merged = std::make_shared<Layer>(*layers[smallest]);
    merged->MergeNewer(*layers[smallest + 1]);
    merged->weight = merged->CountWeight();
    const auto at = static_cast<std::ptrdiff_t>(smallest);
    MutexLock lock(layers_mutex_);
    layers_[smallest] = std::move(merged);
    layers_.erase(layers_.begin() + at + 1);
  }
}

Status Tracker::AdvanceBeyond(Epoch epoch) {
  MutexLock cut_lock(cut_mutex_);
  if (open_epoch() > epoch) return {};
  if (epoch > NewestPlausible()) {
    return MakeError(ErrorKind::kProtocol, "number cuts above " + std::to_string(epoch.number()) +
                                               ", which no source can have reached by now");
  }
  return WithGateClosed([&] { open_epoch_ = epoch.Next().number(); });
}

Status Tracker::Settle() {
  MutexLock cut_lock(cut_mutex_);
  return WithGateClosed([] {});
}

std::vector<std::shared_ptr<const Layer>> Tracker::LayersAfter(Epoch epoch) {
  std::vector<std::shared_ptr<const Layer>> after;
  for (const auto& layer : layers_) {
    if (layer->cut.name.epoch > epoch) after.push_back(layer);
  }
  return after;
}

bool Tracker::WaitForChanges(Epoch epoch, CondVar::Clock::time_point deadline) {
  uint64_t wakes_before = 0;
  {
    MutexLock lock(change_mutex_);
    wakes_before = wakes_;
  }
  if (NewestChange() > epoch) return true;
  {
    // Another replica's sender may have ended the epoch again before this thread looks.
    MutexLock lock(change_mutex_);
    while (wakes_ == wakes_before) {
      if (!changed_.WaitUntil(change_mutex_, deadline)) break;
    }
  }
  return NewestChange() > epoch;
}

void Tracker::WakeAll() {
  MutexLock lock(change_mutex_);
  ++wakes_;
  changed_.NotifyAll();
}

bool Tracker::Knows(const CutName& cut) {
  MutexLock lock(layers_mutex_);
  return std::any_of(cuts_.begin(), cuts_.end(),
                     [&cut](const CutRecord& known) { return known.name == cut; });
}

Epoch Tracker::NewestChange() {
  // In this order: the epoch may end in between, and the next one has no changes yet.
  const Epoch open = open_epoch();
  if (!open_is_empty_.load()) return open;
  MutexLock lock(layers_mutex_);
  return layers_.empty() ? Epoch() : layers_.back()->cut.name.epoch;
}

Status Tracker::DropThrough(Epoch epoch) {
  MutexLock cut_lock(cut_mutex_);
  {
    MutexLock lock(layers_mutex_);
    if (cuts_.empty() || cuts_.back().name.epoch < epoch) return {};
    const bool nothing_older = cuts_.front().name.epoch >= epoch &&
                               (layers_.empty() || layers_.front()->cut.name.epoch > epoch);
    if (nothing_older) return {};
  }
  FAULT_POINT("source.drop.before_commit");
  // First on disk: a cut that is still in the table promises that everything after it is known.
  const Epoch synced_too = std::min(epoch, synced());
  RETURN_IF_ERROR(writer_.Do([epoch, synced_too](StateDatabase& database) -> Status {
    RETURN_IF_ERROR(database.DropCuts(epoch));
    return database.DropDirty(synced_too);
  }));
  FAULT_POINT("source.drop.after_commit");
  dropped_epoch_ = std::max(dropped_epoch_.load(), epoch.number());
  std::vector<std::shared_ptr<const Layer>> dropped;  // freed after the lock is released
  MutexLock lock(layers_mutex_);
  std::erase_if(cuts_, [epoch](const CutRecord& cut) { return cut.name.epoch < epoch; });
  while (!layers_.empty() && layers_.front()->cut.name.epoch <= epoch) {
    dropped.push_back(std::move(layers_.front()));
    layers_.erase(layers_.begin());
  }
  return {};
}

Status Tracker::ForgetCutsBut(const std::set<Epoch>& named) {
  MutexLock cut_lock(cut_mutex_);
  std::set<Epoch> unnamed;
  {
    MutexLock lock(layers_mutex_);
    for (size_t i = 1; i + kNewestCuts < cuts_.size(); ++i) {
      const Epoch epoch = cuts_[i].name.epoch;
      if (epoch > recovered_cut_ && !named.contains(epoch)) unnamed.insert(epoch);
    }
  }
  if (unnamed.size() < kForgottenAtOnce) return {};
  RETURN_IF_ERROR(writer_.Do([&unnamed](StateDatabase& database) -> Status {
    for (const Epoch epoch : unnamed) RETURN_IF_ERROR(database.DeleteCut(epoch));
    return {};
  }));
  MutexLock lock(layers_mutex_);
  std::erase_if(cuts_,
                [&unnamed](const CutRecord& cut) { return unnamed.contains(cut.name.epoch); });
  return {};
}

std::optional<int64_t> Tracker::OldestChangeAfter(Epoch epoch) {
  std::optional<int64_t> oldest;
  const auto older = [&oldest](int64_t ns) { oldest = std::min(oldest.value_or(ns), ns); };
  {
    MutexLock lock(layers_mutex_);
    for (const auto& [id, deferred] : deferred_) older(deferred.since_ns);
    // A cut that somebody asked for ends an epoch without changes, too.
    for (const auto& layer : LayersAfter(epoch)) {
      if (layer->first_change_ns == 0) continue;
      older(layer->first_change_ns);
      return oldest;
    }
  }
  MutexLock lock(change_mutex_);
  if (open_first_change_ns_ != 0) older(open_first_change_ns_);
  return oldest;
}

PendingCounts Tracker::PendingAfter(Epoch epoch) {
  PendingCounts counts;
  for (Shard& shard : shards_) {
    MutexLock shard_lock(shard.mutex);
    for (const auto& [object, change] : shard.open) counts.Add(change);
  }
  // In this order: if the epoch ends in between, changes are counted twice rather than not at all.
  std::vector<std::shared_ptr<const Layer>> layers;
  {
    MutexLock lock(layers_mutex_);
    layers = LayersAfter(epoch);
    for (const auto& [id, deferred] : deferred_) counts.Add(deferred.change);
  }
  for (const auto& layer : layers) {
    for (const ChangeSet& shard : layer->shards) {
      for (const auto& [object, change] : shard) counts.Add(change);
    }
  }
  return counts;
}

ObjectChange Tracker::ChangesAfter(Epoch epoch, const ObjectId& object) {
  ObjectChange merged;
  MutexLock lock(layers_mutex_);
  for (const auto& layer : LayersAfter(epoch)) {
    if (const ObjectChange* change = layer->Find(object)) merged.MergeNewer(*change);
  }
  Shard& shard = ShardFor(object);
  MutexLock shard_lock(shard.mutex);
  if (const auto open = shard.open.find(object); open != shard.open.end()) {
    merged.MergeNewer(open->second);
  }
  return merged;
}

}  // namespace tandem::meta
