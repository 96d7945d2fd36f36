#include "meta/capture/epochs.h"

#include <time.h>

#include <algorithm>
#include <chrono>
#include <string>

#include "meta/base/fault_point.h"
#include "meta/base/log.h"
#include "meta/capture/gate_patience.h"
#include "meta/capture/tuning.h"
#include "meta/change/epoch_limit.h"

namespace tandem::meta {
namespace {

void Pause(std::chrono::milliseconds time) {
  const timespec pause{time.count() / 1000, (time.count() % 1000) * 1'000'000};
  nanosleep(&pause, nullptr);
}

}  // namespace

void OpenState::RecordStraddler(const Straddlers::Entry& straddler) {
  epoch.Record(*straddler.file, [&straddler](ObjectChange& change) {
    change.AddData(straddler.range);
    change.attributes |= kStatAttributes;
  });
}

Epochs::Epochs(const SourceTree& tree, StateWriter& writer, Spill& spill, OpenState& open,
               SourceSync& sync, std::vector<std::shared_ptr<const Layer>> layers,
               std::vector<CutRecord> cuts)
    : tree_(tree),
      writer_(writer),
      spill_(spill),
      open_(open),
      sync_(sync),
      layers_(std::move(layers)),
      cuts_(std::move(cuts)),
      recovered_cut_(cuts_.empty() ? Epoch() : cuts_.back().name.epoch) {}

Result<std::shared_ptr<FrozenCut>> Epochs::TakeCut(Epoch after, CutMode mode) {
  MutexLock cut_lock(cut_mutex_);
  RETURN_IF_ERROR(StoreCut());  // an earlier one that failed
  ASSIGN_OR_RETURN(std::shared_ptr<FrozenCut> cut, Freeze(after, mode));
  FAULT_POINT("source.cut.frozen");
  if (const Status stored = StoreCut(); !stored) {
    cut->GiveUp();
    return tl::unexpected<Error>(stored.error());
  }
  MergeOldLayers();
  // Operations preserve what they alter only as long as the caller holds the cut.
  FrozenCut* const frozen = cut.get();
  return std::shared_ptr<FrozenCut>(frozen, [cut = std::move(cut)](FrozenCut*) { cut->GiveUp(); });
}

Status Epochs::StoreCut() {
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
Status Epochs::WithGateClosed(Task&& task) {
  const auto begun = CondVar::Clock::now();
  bool said = false;
  for (GatePatience tries;; Pause(tries.Failed())) {
    // The lock comes first: its holder may be at work on millions of objects, and the writers need
    // not wait for that. But a long try would hold up other users of the lock, so it goes without.
    if (tries.IsShort()) {
      MutexLock lock(layers_mutex_);
      if (open_.gate.Close(tries.patience())) {
        task();
        open_.gate.Open();
        return {};
      }
    } else if (open_.gate.Close(tries.patience())) {
      MutexLock lock(layers_mutex_);
      task();
      open_.gate.Open();
      break;
    }
    if (stopping_) return MakeError(ErrorKind::kCancelled, "take a cut: stopping");
    if (!said && CondVar::Clock::now() - begun >= kLongGateWait) {
      said = true;
      LogWarning("a cut waits for operations that the source's disk has held up for {} s",
                 kLongGateWait.count());
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
Result<std::shared_ptr<FrozenCut>> Epochs::Freeze(Epoch after, CutMode mode) {
  auto layer = std::make_shared<Layer>();
  layer->cut.name.id = CutId::Random();
  CutsInFlight::Cuts ended;
  std::shared_ptr<FrozenCut> cut;
  RETURN_IF_ERROR(WithGateClosed([&]() REQUIRES(cut_mutex_, layers_mutex_) {
    // What the last run recorded after its newest cut belongs to none yet.
    const bool needs_new =
        mode == CutMode::kFresh || open_.signal.has_changes() || cuts_.empty() ||
        (!layers_.empty() && layers_.back()->cut.name.epoch > cuts_.back().name.epoch);
    if (needs_new) {
      CloseEpoch(*layer);
      unstored_cut_ = layer->cut;
      layers_.push_back(layer);
    }
    cut = std::make_shared<FrozenCut>(needs_new ? layer->cut : cuts_.back(), LayersAfter(after),
                                      tree_, spill_);
    ended = open_.cuts_in_flight.Add(cut);
  }));
  return cut;
}

void Epochs::CloseEpoch(Layer& layer) {
  layer.cut.wall_time_ns = WallTimeNs();
  open_.epoch.MoveTo(layer);
  // In this order: see NewestChange.
  layer.first_change_ns = open_.signal.BeginEpoch();
  open_.epoch.set_number(layer.cut.name.epoch.Next());
  open_.straddlers.ForEach(
      [this](const Straddlers::Entry& straddler) { open_.RecordStraddler(straddler); });
}

// The two neighbours that are the smallest together: a layer of millions of objects is copied only
// when there is another as large beside it. Layers are changed under cut_mutex_ only, so that they
// can be read here without the other lock.
void Epochs::MergeOldLayers() {
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

Status Epochs::AdvanceBeyond(Epoch epoch) {
  MutexLock cut_lock(cut_mutex_);
  if (open_.epoch.number() > epoch) return {};
  if (epoch > NewestPlausible()) {
    return MakeError(ErrorKind::kProtocol, "number cuts above " + std::to_string(epoch.number()) +
                                               ", which no source can have reached by now");
  }
  return WithGateClosed([&] { open_.epoch.set_number(epoch.Next()); });
}

Status Epochs::Settle() {
  MutexLock cut_lock(cut_mutex_);
  return WithGateClosed([] {});
}

std::vector<std::shared_ptr<const Layer>> Epochs::LayersAfter(Epoch epoch) {
  std::vector<std::shared_ptr<const Layer>> after;
  for (const auto& layer : layers_) {
    if (layer->cut.name.epoch > epoch) after.push_back(layer);
  }
  return after;
}

bool Epochs::WaitForChanges(Epoch epoch, CondVar::Clock::time_point deadline, uint64_t wakes) {
  if (NewestChange() > epoch) return true;
  open_.signal.Wait(wakes, deadline);
  // Asked again: another replica's sender may have ended the epoch that woke this thread.
  return NewestChange() > epoch;
}

bool Epochs::Knows(const CutName& cut) {
  MutexLock lock(layers_mutex_);
  return std::any_of(cuts_.begin(), cuts_.end(),
                     [&cut](const CutRecord& known) { return known.name == cut; });
}

Epoch Epochs::NewestChange() {
  // In this order: the epoch may end in between, and the next one has no changes yet.
  const Epoch open = open_.epoch.number();
  if (open_.signal.has_changes()) return open;
  MutexLock lock(layers_mutex_);
  return layers_.empty() ? Epoch() : layers_.back()->cut.name.epoch;
}

Status Epochs::DropThrough(Epoch epoch) {
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
  const Epoch synced_too = std::min(epoch, sync_.synced());
  RETURN_IF_ERROR(writer_.Do([epoch, synced_too](StateDatabase& database) -> Status {
    RETURN_IF_ERROR(database.DropCuts(epoch));
    return database.DropDirty(synced_too);
  }));
  FAULT_POINT("source.drop.after_commit");
  sync_.NoteDropped(epoch);
  std::vector<std::shared_ptr<const Layer>> dropped;  // freed after the lock is released
  MutexLock lock(layers_mutex_);
  std::erase_if(cuts_, [epoch](const CutRecord& cut) { return cut.name.epoch < epoch; });
  while (!layers_.empty() && layers_.front()->cut.name.epoch <= epoch) {
    dropped.push_back(std::move(layers_.front()));
    layers_.erase(layers_.begin());
  }
  return {};
}

Status Epochs::ForgetCutsBut(const std::set<Epoch>& named) {
  MutexLock cut_lock(cut_mutex_);
  std::set<Epoch> unnamed;
  {
    MutexLock lock(layers_mutex_);
    for (size_t i = 1; i + kNewestCutsKept < cuts_.size(); ++i) {
      const Epoch epoch = cuts_[i].name.epoch;
      if (epoch > recovered_cut_ && !named.contains(epoch)) unnamed.insert(epoch);
    }
  }
  if (unnamed.size() < kCutsForgottenAtOnce) return {};
  RETURN_IF_ERROR(writer_.Do([&unnamed](StateDatabase& database) -> Status {
    for (const Epoch epoch : unnamed) RETURN_IF_ERROR(database.DeleteCut(epoch));
    return {};
  }));
  MutexLock lock(layers_mutex_);
  std::erase_if(cuts_,
                [&unnamed](const CutRecord& cut) { return unnamed.contains(cut.name.epoch); });
  return {};
}

// The open epoch first: if it ends in between, its changes are seen twice rather than not at all.
std::optional<int64_t> Epochs::OldestChangeAfter(Epoch epoch) {
  const int64_t open_since = open_.signal.first_change_ns();
  MutexLock lock(layers_mutex_);
  for (const auto& layer : LayersAfter(epoch)) {
    // A cut that was asked for ends an epoch without changes, too.
    if (layer->first_change_ns != 0) return layer->first_change_ns;
  }
  return open_since == 0 ? std::nullopt : std::optional(open_since);
}

void Epochs::CountPendingAfter(Epoch epoch, PendingCounts& counts) {
  open_.epoch.CountPending(counts);
  std::vector<std::shared_ptr<const Layer>> layers;
  {
    MutexLock lock(layers_mutex_);
    layers = LayersAfter(epoch);
  }
  for (const auto& layer : layers) {
    for (const ChangeSet& shard : layer->shards) {
      for (const auto& [object, change] : shard) counts.Add(change);
    }
  }
}

ObjectChange Epochs::ChangesAfter(Epoch epoch, const ObjectId& object) {
  ObjectChange merged;
  VisitChanges(object, [&](Epoch changed, const ObjectChange& change) {
    if (changed > epoch) merged.MergeNewer(change);
  });
  return merged;
}

uint64_t Epochs::Weight() {
  uint64_t weight = open_.epoch.weight();
  MutexLock lock(layers_mutex_);
  for (const auto& layer : layers_) weight += layer->weight;
  return weight;
}

Epoch Epochs::newest_cut() {
  MutexLock lock(layers_mutex_);
  return cuts_.empty() ? Epoch() : cuts_.back().name.epoch;
}

}  // namespace tandem::meta
