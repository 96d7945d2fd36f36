// Cuts and closed epochs. A cut ends the open epoch; what changed in it becomes a layer, which
// stays until every replica has it. Cuts are remembered in the state database, so that a replica
// that names one after a restart can go on from there.
//
// Any thread. Lock order: cut_mutex_, then layers_mutex_, then the gate's, then the mutexes of the
// open epoch. Nothing of the state writer is called with layers_mutex_ held. An operation inside
// the gate takes neither of the two.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "meta/base/ids.h"
#include "meta/base/mutex.h"
#include "meta/base/result.h"
#include "meta/capture/change_signal.h"
#include "meta/capture/cuts_in_flight.h"
#include "meta/capture/frozen_cut.h"
#include "meta/capture/gate.h"
#include "meta/capture/open_epoch.h"
#include "meta/capture/source_sync.h"
#include "meta/capture/spill.h"
#include "meta/capture/straddlers.h"
#include "meta/change/layer.h"
#include "meta/source/source_tree.h"
#include "meta/state/state_writer.h"

namespace tandem::meta {

// What operations of the open epoch pass through.
struct OpenState {
  // `recovered`: changes that an earlier run has recorded for the open epoch.
  OpenState(Epoch number, Layer recovered)
      : signal(recovered.empty() ? 0 : std::max<int64_t>(1, recovered.first_change_ns)),
        epoch(number, std::move(recovered)) {}

  // Records in the open epoch an alteration that is under way outside the gate. No thread is woken
  // for it: it is in the next cut, whatever that is taken for.
  void RecordStraddler(const Straddlers::Entry& straddler);

  ChangeSignal signal;
  OpenEpoch epoch;
  Gate gate;
  Straddlers straddlers;
  CutsInFlight cuts_in_flight;
};

class Epochs {
 public:
  enum class CutMode {
    kShared,  // if nothing has changed since the newest cut, that one serves
    kFresh,
  };

  // `layers` and `cuts` are those of earlier runs, oldest first. All references must outlive this;
  // `spill` also the cuts that TakeCut returns.
  Epochs(const SourceTree& tree, StateWriter& writer, Spill& spill, OpenState& open,
         SourceSync& sync, std::vector<std::shared_ptr<const Layer>> layers,
         std::vector<CutRecord> cuts);

  // See Tracker.
  Result<std::shared_ptr<FrozenCut>> TakeCut(Epoch after, CutMode mode)
      EXCLUDES(cut_mutex_, layers_mutex_);
  Status AdvanceBeyond(Epoch epoch) EXCLUDES(cut_mutex_);
  Status Settle() EXCLUDES(cut_mutex_);
  bool Knows(const CutName& cut) EXCLUDES(layers_mutex_);
  Epoch NewestChange() EXCLUDES(layers_mutex_);
  bool WaitForChanges(Epoch epoch, CondVar::Clock::time_point deadline, uint64_t wakes)
      EXCLUDES(layers_mutex_);
  Status DropThrough(Epoch epoch) EXCLUDES(cut_mutex_, layers_mutex_);
  Status ForgetCutsBut(const std::set<Epoch>& named) EXCLUDES(cut_mutex_, layers_mutex_);

  // Of the closed epochs and the open one: what changed after `epoch`.
  std::optional<int64_t> OldestChangeAfter(Epoch epoch) EXCLUDES(layers_mutex_);
  void CountPendingAfter(Epoch epoch, PendingCounts& counts) EXCLUDES(layers_mutex_);
  ObjectChange ChangesAfter(Epoch epoch, const ObjectId& object) EXCLUDES(layers_mutex_);
  uint64_t Weight() EXCLUDES(layers_mutex_);

  // Calls `visit(epoch, change)` for each epoch, oldest first, in which the object has changed. No
  // epoch ends meanwhile.
  template <typename Visit>
  void VisitChanges(const ObjectId& object, Visit visit) EXCLUDES(layers_mutex_) {
    MutexLock lock(layers_mutex_);
    for (const auto& layer : layers_) {
      const ObjectChange* const change = layer->Find(object);
      if (change != nullptr) visit(layer->cut.name.epoch, *change);
    }
    open_.epoch.Visit(object,
                      [&](const ObjectChange& change) { visit(open_.epoch.number(), change); });
  }

  // The newest cut in the database; epoch 0 if there is none.
  Epoch newest_cut() EXCLUDES(layers_mutex_);

  // A cut that waits for running operations, or will, returns kCancelled.
  void Stop() { stopping_ = true; }

 private:
  Result<std::shared_ptr<FrozenCut>> Freeze(Epoch after, CutMode mode) REQUIRES(cut_mutex_)
      EXCLUDES(layers_mutex_);
  void CloseEpoch(Layer& layer) REQUIRES(cut_mutex_, layers_mutex_);
  // Writes down the newest cut, if its row could not be written yet.
  Status StoreCut() REQUIRES(cut_mutex_);
  void MergeOldLayers() REQUIRES(cut_mutex_) EXCLUDES(layers_mutex_);
  // Runs `task`, which must be quick, while no operation is inside the gate. Logs it if getting
  // there takes very long.
  template <typename Task>
  Status WithGateClosed(Task&& task) REQUIRES(cut_mutex_) EXCLUDES(layers_mutex_);
  std::vector<std::shared_ptr<const Layer>> LayersAfter(Epoch epoch) REQUIRES(layers_mutex_);

  const SourceTree& tree_;
  StateWriter& writer_;
  Spill& spill_;
  OpenState& open_;
  SourceSync& sync_;
  std::atomic<bool> stopping_{false};

  Mutex cut_mutex_;
  std::optional<CutRecord> unstored_cut_ GUARDED_BY(cut_mutex_);

  Mutex layers_mutex_;
  // Oldest first. Changed under cut_mutex_ as well; a layer that stands here does not change.
  std::vector<std::shared_ptr<const Layer>> layers_ GUARDED_BY(layers_mutex_);
  // The cuts that the database knows, oldest first.
  std::vector<CutRecord> cuts_ GUARDED_BY(layers_mutex_);
  // The newest cut of earlier runs.
  const Epoch recovered_cut_;
};

}  // namespace tandem::meta
