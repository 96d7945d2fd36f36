// The tracker: capture's core. It keeps the marks and the precise changes of the open epoch in
// memory; makes cuts; keeps the layers of closed epochs until every replica has them; and writes to
// the state database what a crash must not lose (meta/SCHEMA.md).
//
// What covers a change, at any time: a hot row, until it cools; from then on dirty rows. Cooling
// writes the dirty rows and deletes the hot row in one transaction. While an object is hot its
// precise changes stand in memory alone: after a crash the hot row makes the whole region suspect.
//
// It is composed of
//   Marks            hot marks and pins (meta/capture/marks.h)
//   OpenState        what operations pass through and record in (meta/capture/epochs.h)
//   Epochs           cuts and the layers of closed epochs (meta/capture/epochs.h)
//   SourceSync       what of the source is on stable storage (meta/capture/source_sync.h)
//   DeferredChanges  what could not be read (meta/capture/deferred_changes.h)
//   Cooling          the thread that syncs and cools (meta/capture/cooling.h)
// each of which has its own locks. Only Epochs' two mutexes, and that of Straddlers, are held while
// another is taken: fs/LOCKING.md has the order. The state writer is called with none of them held
// but Epochs::cut_mutex_.
//
// Any thread, except Stop, after which nothing but the destructor may be called.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "meta/base/mutex.h"
#include "meta/capture/capture.h"
#include "meta/capture/cooling.h"
#include "meta/capture/deferred_changes.h"
#include "meta/capture/epochs.h"
#include "meta/capture/frozen_cut.h"
#include "meta/capture/marks.h"
#include "meta/capture/source_sync.h"
#include "meta/capture/spill.h"
#include "meta/source/slow_disk.h"
#include "meta/source/source_tree.h"
#include "meta/state/state_writer.h"

namespace tandem::meta {

class Tracker : public Capture {
 public:
  // What the last run left behind; from Recover (meta/capture/recovery.h).
  struct Recovered {
    Epoch open_epoch;
    std::vector<CutRecord> cuts;
    std::vector<std::shared_ptr<const Layer>> layers;
    // Objects that were changed last, as meta/state/witness.h knows them.
    std::vector<ObjectRef> recently_changed;
    // Suspects of hot marks; they belong to the open epoch and stand in the database already.
    Layer open;
  };

  // `tree`, `writer` and `spill` must outlive the tracker, `spill` its cuts too.
  Tracker(const SourceTree& tree, StateWriter& writer, Spill& spill, Recovered recovered);
  ~Tracker() override;

  bool follows_names() const override { return whereabouts() != nullptr; }
  Result<UniqueFd> Open(const ObjectRef& object) override;
  void Saw(const ObjectRef& directory, std::string_view name, const ObjectRef& object) override;
  void SawNameless(const ObjectRef& object) override;

  void NoteSync() override { program_synced_ = std::chrono::steady_clock::now(); }
  // When a program has last waited for the source's disk.
  std::chrono::steady_clock::time_point program_synced() const { return program_synced_; }

  using Capture::Begin;
  Result<Operation> Begin(const Intent& intent, TouchPredictor* predictor) override {
    return Begin(intent, predictor, /*alters=*/true);
  }

  // Makes the marks that these operations will need in one commit. Only saves time: each of them
  // still begins with Begin, which makes a mark that has cooled meanwhile.
  Status MarkAhead(const std::vector<Intent>& intents);

  using CutMode = Epochs::CutMode;
  // Ends the open epoch and returns what a replica at `after` needs to reach the newest cut (an
  // empty change set if nothing changed since). From this instant on operations keep for it what
  // they alter, until it is finished or given up. Returns kCancelled after Stop.
  Result<std::shared_ptr<FrozenCut>> TakeCut(Epoch after, CutMode mode = CutMode::kShared) {
    return epochs_.TakeCut(after, mode);
  }
  // Numbers the open epoch, and so the next cut, higher than `epoch` (a replica's, from before our
  // state database was lost). Returns kProtocol beyond what can have been counted
  // (meta/change/epoch_limit.h).
  Status AdvanceBeyond(Epoch epoch) { return epochs_.AdvanceBeyond(epoch); }
  // Waits until there are changes after `epoch`, the deadline, or WakeAll. Returns whether there
  // are. `wakes`: what wakes() returned before the caller looked for anything else to do. It does
  // not wait if WakeAll has been called since.
  bool WaitForChanges(Epoch epoch, CondVar::Clock::time_point deadline) {
    return WaitForChanges(epoch, deadline, wakes());
  }
  bool WaitForChanges(Epoch epoch, CondVar::Clock::time_point deadline, uint64_t wakes) {
    return epochs_.WaitForChanges(epoch, deadline, wakes);
  }
  // Waits until the deadline, WakeAll, or the first change of an epoch. `wakes`: as above.
  void WaitForWake(CondVar::Clock::time_point deadline, uint64_t wakes) {
    open_.signal.Wait(wakes, deadline);
  }
  uint64_t wakes() { return open_.signal.wakes(); }
  void WakeAll() { open_.signal.WakeAll(); }

  // Whether what came after this cut is still known exactly.
  bool Knows(const CutName& cut) { return epochs_.Knows(cut); }
  // A replica that has applied this epoch has everything that has been changed until now.
  Epoch NewestChange() { return epochs_.NewestChange(); }
  // Forgets everything up to and including `epoch`, which all replicas have applied. Marks stay
  // until the source has been synced as well (invariant 2).
  Status DropThrough(Epoch epoch) { return epochs_.DropThrough(epoch); }
  // Forgets cuts that no replica will name, so that their number does not grow with the time one is
  // away; what came after them stays. Kept are `named`, some of the newest, the oldest, and those
  // of earlier runs, of which a replica not heard of since may have any.
  Status ForgetCutsBut(const std::set<Epoch>& named) { return epochs_.ForgetCutsBut(named); }
  // The newest epoch whose changes are on the source's stable storage, as far as is known.
  Epoch synced() const { return sync_.synced(); }

  // Waits until every operation that had changed something when this was called has recorded it.
  Status Settle() { return epochs_.Settle(); }

  // Returns when the first of the alterations began that are under way outside the gate, or now if
  // there are none: whatever is altered from now on has, or gets, a ctime that is no older.
  std::chrono::system_clock::time_point AlteredSince() {
    return open_.straddlers.Since(std::chrono::system_clock::now());
  }
  Epoch open_epoch() const { return open_.epoch.number(); }
  // BootTimeNs of the oldest change after `epoch`; nullopt if there is none.
  std::optional<int64_t> OldestChangeAfter(Epoch epoch);
  PendingCounts PendingAfter(Epoch epoch);
  // What changed of one object after `epoch`.
  ObjectChange ChangesAfter(Epoch epoch, const ObjectId& object) {
    return epochs_.ChangesAfter(epoch, object);
  }
  size_t hot_objects() { return marks_.CountHot(); }
  // The weight of all changes that are remembered (WeightOf in meta/change/layer.h), those of
  // different epochs each for itself.
  uint64_t Weight() { return epochs_.Weight(); }

  // Syncs the source and cools what was not touched since the window before (`all`: everything).
  // Happens by itself, every five seconds, and every thirty while much is written.
  Status EndWindow(bool all) { return cooling_.EndWindow(all); }

  // Defers `change`, which could not be read for a cut that goes without it. It is pending from now
  // on, whatever is dropped, and after a while recorded once more. On return the database knows of
  // it. Ranges, attributes and `listing` count, single names do not.
  Status Defer(const ObjectRef& object, const ObjectChange& change) {
    return deferred_.Add(object, change);
  }

  // A few of the objects that cooled last, newest last.
  std::vector<ObjectRef> recently_changed() { return cooling_.recently_changed(); }

  // Ends background work, syncs the source and writes everything that is pending as dirty rows. No
  // operation may be running. After an error the rows are not all there, but the hot rows are.
  Status Stop();

 private:
  friend class Operation;

  // An operation that does not alter anything (`alters`) need not preserve anything for cuts.
  Result<Operation> Begin(const Intent& intent, TouchPredictor* predictor, bool alters);
  Status RecordAgain(const ObjectRef& object, const ObjectChange& change);
  void EndBackgroundWork();

  // Where objects are, if they are found by their names; else null.
  Whereabouts* whereabouts() const {
    return tree_.by_names() == nullptr ? nullptr : &tree_.by_names()->whereabouts();
  }
  void NoteEntry(const ObjectId& directory, std::string_view name, const ObjectId& child,
                 const ObjectId& replaced, const ObjectId& losing);

  const SourceTree& tree_;
  OpenState open_;
  SlowDisk slow_disk_;
  SourceSync sync_;
  Marks marks_;
  Epochs epochs_;
  DeferredChanges deferred_;
  Cooling cooling_;
  std::atomic<std::chrono::steady_clock::time_point> program_synced_{};
};

}  // namespace tandem::meta
