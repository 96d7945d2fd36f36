// The tracker: capture's core. It keeps the hot marks and the precise changes of the open epoch in
// memory, sharded by object; makes cuts; keeps the layers of closed epochs until every replica has
// them; and writes to the state database what a crash must not lose (meta/SCHEMA.md).
//
// What covers a change, at any time: a hot row, until it cools; from then on dirty rows. Cooling
// writes the dirty rows and deletes the hot row in one transaction. While an object is hot its
// precise changes stand in memory alone: after a crash the hot row makes the whole region suspect.
//
// Any thread, except Stop, after which nothing but the destructor may be called. Lock
// order: cut_mutex_, then layers_mutex_, then one shard's mutex or change_mutex_; nothing of the
// state writer is called with any of them held.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <thread>
#include <vector>

#include "meta/base/mutex.h"
#include "meta/capture.h"
#include "meta/frozen_cut.h"
#include "meta/gate.h"
#include "meta/hot_object.h"
#include "meta/slow_disk.h"
#include "meta/source_tree.h"
#include "meta/spill.h"
#include "meta/state_writer.h"
#include "meta/straddlers.h"

namespace tandem::meta {

class Tracker : public Capture {
 public:
  // What the last run left behind; from Recover (meta/recovery.h).
  struct Recovered {
    Epoch open_epoch;
    std::vector<CutRecord> cuts;
    std::vector<std::shared_ptr<const Layer>> layers;
    // Objects that were changed last, as meta/witness.h knows them.
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

  using Capture::Begin;
  Result<Operation> Begin(const Intent& intent, Foresight* foresight) override {
    return Begin(intent, foresight, /*alters=*/true);
  }

  enum class CutMode {
    kShared,  // if nothing has changed since the newest cut, that one serves
    kFresh,
  };
  // Ends the open epoch and returns what a replica at `after` needs to reach the newest cut (an
  // empty change set if nothing changed since). From this instant on operations keep for it what
  // they alter, until it is finished or given up. kCancelled after Stop.
  Result<std::shared_ptr<FrozenCut>> TakeCut(Epoch after, CutMode mode = CutMode::kShared)
      EXCLUDES(cut_mutex_, layers_mutex_);
  // Numbers the open epoch, and so the next cut, higher than `epoch` (a replica's, from before our
  // state database was lost). kProtocol beyond what can have been counted (meta/epoch_limit.h).
  Status AdvanceBeyond(Epoch epoch) EXCLUDES(cut_mutex_);
  // Waits until there are changes after `epoch`, the deadline, or WakeAll. True: there are.
  bool WaitForChanges(Epoch epoch, CondVar::Clock::time_point deadline) EXCLUDES(change_mutex_);
  void WakeAll() EXCLUDES(change_mutex_);

  // Whether what came after this cut is still known exactly.
  bool Knows(const CutName& cut) EXCLUDES(layers_mutex_);
  // A replica that has applied this epoch has everything that has been changed until now.
  Epoch NewestChange() EXCLUDES(layers_mutex_);
  // All replicas have applied everything up to and including `epoch`: forget it. Marks stay until
  // the source has been synced as well (invariant 2).
  Status DropThrough(Epoch epoch) EXCLUDES(cut_mutex_, layers_mutex_);
  // Forgets cuts that no replica will name, so that their number does not grow with the time one is
  // away; what came after them stays. Kept are `named`, some of the newest, the oldest, and those
  // of earlier runs, of which a replica not heard of since may have any.
  Status ForgetCutsBut(const std::set<Epoch>& named) EXCLUDES(cut_mutex_, layers_mutex_);
  // The newest epoch whose changes are on the source's stable storage, as far as is known.
  Epoch synced() const { return Epoch(synced_epoch_.load()); }

  // Waits until every operation that had changed something when this was called has recorded it.
  Status Settle() EXCLUDES(cut_mutex_);

  Epoch open_epoch() const { return Epoch(open_epoch_.load()); }
  // BootTimeNs of the oldest change after `epoch`.
  std::optional<int64_t> OldestChangeAfter(Epoch epoch) EXCLUDES(layers_mutex_);
  PendingCounts PendingAfter(Epoch epoch) EXCLUDES(layers_mutex_);
  // What changed of one object after `epoch`.
  ObjectChange ChangesAfter(Epoch epoch, const ObjectId& object) EXCLUDES(layers_mutex_);
  size_t hot_objects();
  // Objects, names and (a quarter each) ranges that are remembered as changed, those of different
  // epochs each for itself.
  uint64_t Weight() EXCLUDES(layers_mutex_);

  // Syncs the source and cools what was not touched since the window before (`all`: everything).
  // Happens by itself, every five seconds, and every thirty while much is written.
  Status EndWindow(bool all) EXCLUDES(layers_mutex_);

  // `change` could not be read for a cut that goes without it. It is pending from now on, whatever
  // is dropped, and after a while recorded once more. On return it is written down. Ranges,
  // attributes and `listing` count, single names do not.
  Status Defer(const ObjectRef& object, const ObjectChange& change) EXCLUDES(layers_mutex_);

  // A few of the objects that cooled last, newest last.
  std::vector<ObjectRef> recently_changed() EXCLUDES(layers_mutex_);

  // Ends background work, syncs the source and writes everything that is pending as dirty rows. No
  // operation may be running. An error: the rows are not all there, but the hot rows are.
  Status Stop();

 private:
  friend class Operation;

  struct HotEntry {
    ObjectRef object;
    HotObject marks;
    bool foreseen = true;  // and, so far, no more than that
  };
  struct Shard {
    Mutex mutex;
    std::unordered_map<ObjectId, HotEntry> hot GUARDED_BY(mutex);
    ChangeSet open GUARDED_BY(mutex);
  };
  struct MarkRequest {
    ObjectRef object;
    HotRegion region;
    bool durable;
  };
  // Undoes what it holds when it goes.
  class Pins {
   public:
    explicit Pins(Tracker& tracker) : tracker_(tracker) {}
    ~Pins();
    Pins(const Pins&) = delete;
    Pins& operator=(const Pins&) = delete;

    void Add(const ObjectId& object, HotObject& marks);

   private:
    Tracker& tracker_;
    std::vector<Operation::Pin> pins_;
  };
  struct Deferred {
    ObjectRef object;
    ObjectChange change;
    int64_t since_ns;
    CondVar::Clock::time_point retry;
    uint64_t serial;  // of the last Defer
  };
  struct Cooled {
    ObjectRef object;
    std::vector<HotRegion> regions;
  };

  Shard& ShardFor(const ObjectId& object) { return shards_[ShardOf(object)]; }

  // Operations (tracker.cc). An operation that alters nothing need not preserve anything.
  Result<Operation> Begin(const Intent& intent, Foresight* foresight, bool alters);
  // `relies_on_birth`: null if a mark is needed even so.
  void PinAndTouch(const Intent::Item& item, Operation& operation,
                   std::vector<MarkRequest>& missing, bool* relies_on_birth);
  // Touches what is likely to be next, and pins it.
  void TouchNext(const Intent& intent, Foresight& foresight, std::vector<MarkRequest>& missing,
                 Pins& pins);
  static void TouchData(const Intent::Item& item, uint64_t existing_bytes, HotObject& marks,
                        std::vector<MarkRequest>& missing);
  Status Mark(const std::vector<MarkRequest>& requests);
  ObjectChange& OpenChange(Shard& shard, const ObjectRef& object) REQUIRES(shard.mutex);
  void NoteChange() EXCLUDES(change_mutex_);
  // Inside the gate.
  void Preserve(const Intent& intent);
  void KeepUnlinked(const ObjectId& object, int path_fd);
  void RecordStraddler(const Straddlers::Entry& entry);
  void Unpin(const ObjectId& object, uint8_t parity);

  // Cuts (tracker_cuts.cc).
  Result<std::shared_ptr<FrozenCut>> Freeze(Epoch after, CutMode mode) REQUIRES(cut_mutex_)
      EXCLUDES(layers_mutex_);
  void CloseEpoch(Layer& layer) REQUIRES(cut_mutex_, layers_mutex_);
  Status StoreCut() REQUIRES(cut_mutex_);
  void MergeOldLayers() REQUIRES(cut_mutex_) EXCLUDES(layers_mutex_);
  // Runs `task`, which must be quick, while nobody is inside the gate. Says so in the log if that
  // takes very long.
  template <typename Task>
  Status WithGateClosed(Task&& task) REQUIRES(cut_mutex_) EXCLUDES(layers_mutex_);
  std::vector<std::shared_ptr<const Layer>> LayersAfter(Epoch epoch) REQUIRES(layers_mutex_);

  // Cooling (tracker_cooling.cc); the writer's jobs may run on any of its callers' threads.
  void RunTicks();
  Status SyncSource() EXCLUDES(layers_mutex_);
  Status CoolShard(size_t index, bool all);
  // Takes from `hot`, which were hot when the window ended, those it has dealt with.
  Status CoolSome(Shard& shard, bool all, std::span<const ObjectId>& hot);
  Status CoolInTransaction(StateDatabase& database, Shard& shard, bool all,
                           std::span<const ObjectId>& hot, std::vector<Cooled>& cooled)
      EXCLUDES(layers_mutex_);
  Status RetryDeferred() EXCLUDES(layers_mutex_);
  Status RecordAgain(const ObjectRef& object, const ObjectChange& change);
  void NoteRecentlyChanged(const ObjectRef& object) REQUIRES(layers_mutex_);
  DirtyObject DirtyRowsOf(const ObjectRef& object) REQUIRES(layers_mutex_);
  std::vector<DirtyObject> RowsOfBorn(const DirtyObject& directory) REQUIRES(layers_mutex_);

  // Where objects are, if they are found by their names; else null.
  Whereabouts* whereabouts() const {
    return tree_.by_names() == nullptr ? nullptr : &tree_.by_names()->whereabouts();
  }
  void NoteEntry(const ObjectId& directory, std::string_view name, const ObjectId& child,
                 const ObjectId& replaced, const ObjectId& losing);
  Status WriteOutdatedPlaces();

  const SourceTree& tree_;
  StateWriter& writer_;
  Spill& spill_;
  Gate gate_;
  Straddlers straddlers_;
  SlowDisk slow_disk_;
  std::array<Shard, kShards> shards_;
  // Written only while the gate is closed.
  std::atomic<uint64_t> open_epoch_;
  std::atomic<uint64_t> open_weight_{0};
  std::atomic<int64_t> open_ranges_{0};

  Mutex cut_mutex_;
  Mutex layers_mutex_;
  // Oldest first. Changed under cut_mutex_ as well; a layer that stands here does not change.
  std::vector<std::shared_ptr<const Layer>> layers_ GUARDED_BY(layers_mutex_);
  std::unordered_map<ObjectId, Deferred> deferred_ GUARDED_BY(layers_mutex_);
  std::deque<ObjectRef> recently_changed_ GUARDED_BY(layers_mutex_);
  uint64_t last_deferral_ GUARDED_BY(layers_mutex_) = 0;
  // The cuts that are known in the database, oldest first.
  std::vector<CutRecord> cuts_ GUARDED_BY(layers_mutex_);
  // The newest cut of earlier runs.
  Epoch recovered_cut_ GUARDED_BY(layers_mutex_);
  // The newest cut, if its row could not be written yet.
  std::optional<CutRecord> unstored_cut_ GUARDED_BY(cut_mutex_);

  Mutex change_mutex_;
  CondVar changed_;
  std::atomic<bool> open_is_empty_{true};
  // First changes of an epoch, and calls of WakeAll.
  uint64_t wakes_ GUARDED_BY(change_mutex_) = 0;
  int64_t open_first_change_ns_ GUARDED_BY(change_mutex_) = 0;  // BootTimeNs; 0: none

  // The cuts operations may have to keep things for, oldest first. Read inside the gate, changed
  // only while it is closed: that is its lock.
  std::vector<std::shared_ptr<FrozenCut>> in_flight_;

  // Completed syncs of the source; the first number says that nothing was synced yet.
  std::atomic<uint64_t> syncs_{1};
  std::atomic<uint64_t> synced_epoch_{0};
  std::atomic<uint64_t> written_since_tick_{0};  // bytes
  std::atomic<uint64_t> dropped_epoch_{0};

  std::atomic<bool> stopping_{false};
  Mutex tick_mutex_;
  CondVar tick_;
  std::thread ticker_;
};

// Wall time, for people: nanoseconds since the Unix epoch.
int64_t WallTimeNs();
// For lag: nanoseconds since this machine was started, whatever happens to the wall clock.
int64_t BootTimeNs();

}  // namespace tandem::meta
