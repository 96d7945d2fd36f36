// The hot marks: which regions of which objects are covered by hot rows, which of them operations
// have pinned, and which may be cooled (meta/capture/hot_object.h has the rules for one object).
//
// Any thread. Each shard has a mutex of its own. While one is held nothing else is locked; the
// source and the database are reached with none held.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "meta/base/ids.h"
#include "meta/base/mutex.h"
#include "meta/base/result.h"
#include "meta/capture/capture.h"
#include "meta/capture/hot_object.h"
#include "meta/capture/open_epoch.h"
#include "meta/capture/source_sync.h"
#include "meta/change/layer.h"
#include "meta/source/source_tree.h"
#include "meta/state/state_writer.h"

namespace tandem::meta {

class Marks {
 public:
  // A mark to be made.
  struct Request {
    ObjectRef object;
    HotRegion region;
    bool durable;  // on stable storage, so that a power cut leaves it
  };
  using Requests = std::vector<Request>;

  // Pins of which the owner need not know the number. Unpins them when it is destroyed.
  class PinSet {
   public:
    explicit PinSet(Marks& marks) : marks_(marks) {}
    ~PinSet();
    PinSet(const PinSet&) = delete;
    PinSet& operator=(const PinSet&) = delete;

   private:
    friend class Marks;
    void Add(const ObjectId& object, HotObject& marks);

    Marks& marks_;
    std::vector<Pin> pins_;
  };

  // All references must outlive this.
  Marks(const SourceTree& tree, StateWriter& writer, OpenEpoch& open, const SourceSync& sync)
      : tree_(tree), writer_(writer), open_(open), sync_(sync) {}

  // ---- Operations ----
  // Pins the item's object, notes the touch, and adds the marks that it needs and lacks to
  // `missing`. With `may_rely_on_birth`, returns false and does nothing if the object was born in
  // the open epoch: then it needs no mark as long as that epoch is open.
  bool PinAndTouch(const Intent::Item& item, bool may_rely_on_birth, Pins& pins, Requests& missing);
  // For each item that lacks a mark, touches and pins what `predictor` expects to be touched next,
  // so that one commit makes those marks too.
  void TouchNext(const Intent& intent, TouchPredictor& predictor, Requests& missing, PinSet& pins);
  // Makes the marks. Their objects must be pinned. Returns once they are committed.
  Status Make(const Requests& requests);
  void Unpin(const Pin& pin);

  // ---- Cooling (meta/capture/cooling.h) ----
  struct Cooled {
    ObjectRef object;
    std::vector<HotRegion> regions;
    bool foreseen;  // and never touched by an operation
  };
  bool empty();
  std::vector<ObjectId> InShard(size_t shard);
  // Ends the object's window. Returns the marks taken away from it; nullopt if none were.
  std::optional<Cooled> EndWindow(const ObjectId& object, bool all);
  // Puts back marks that EndWindow has taken away.
  void Restore(const Cooled& cooled);
  // Forgets the shard's objects that have neither marks nor pins.
  void ForgetUnused(size_t shard);

  // Objects with marks.
  size_t CountHot();

 private:
  struct HotEntry {
    ObjectRef object;
    HotObject marks;
    bool foreseen = true;
  };
  struct Shard {
    Mutex mutex;
    std::unordered_map<ObjectId, HotEntry> hot GUARDED_BY(mutex);
  };

  Shard& ShardFor(const ObjectId& object) { return shards_[ShardOf(object)]; }
  static void TouchData(const Intent::Item& item, uint64_t existing_bytes, HotObject& marks,
                        Requests& missing);

  const SourceTree& tree_;
  StateWriter& writer_;
  OpenEpoch& open_;
  const SourceSync& sync_;
  std::array<Shard, kShards> shards_;
};

}  // namespace tandem::meta
