// A frozen cut holds what one replica needs to go from its cut to a newer one. It is the only way
// to read the changed objects as they were at the instant of that cut while operations continue
// (DESIGN section 4, "Reading a frozen cut").
//
// The changes contain the names. Everything else is read from the tree, so an operation preserves
// what it is about to alter if the reader has not read it yet: bytes, attributes, and, by an open
// descriptor, objects that lose their last name. Each shard of objects has a lock that orders the
// two sides:
//
//   the reader                               an operation, inside the gate, before its call
//   reads the live object, locks,            locks, reads what it will alter and is not settled
//   overlays the preserved values,           yet, preserves that, marks it settled, unlocks
//   marks the result settled, unlocks
//
// So what an operation altered before the reader locked has been preserved, whatever the live read
// saw, and what is altered later no longer matters. Bytes and attributes are "settled" if no
// operation has to preserve them any more.
//
// If something cannot be preserved, the cut is given up. The reader may go on, but what it reads
// does not show the tree at one instant, so a newer cut must follow before any of it counts.
#pragma once

#include <array>
#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "meta/base/mutex.h"
#include "meta/capture/capture.h"
#include "meta/capture/spill.h"
#include "meta/change/layer.h"
#include "meta/source/object_reader.h"
#include "meta/source/source_tree.h"

namespace tandem::meta {

// The sender's thread reads it. Any thread may call PreserveUnlinked, Preserve and GiveUp, the
// first two only inside the gate.
class FrozenCut {
 public:
  // `layers` are the layers after the replica's cut, oldest first. `tree` and `spill` must outlive
  // the cut. Called while the gate is closed, so it copies nothing.
  FrozenCut(CutRecord cut, std::vector<std::shared_ptr<const Layer>> layers, const SourceTree& tree,
            Spill& spill);

  const CutRecord& cut() const { return cut_; }
  // Returns all layers merged into one.
  const Layer& changes();

  // Returns nullptr if the object was already gone at the cut or has no name in it. The reader must
  // not outlive the cut.
  Result<std::unique_ptr<ObjectReader>> Open(const ObjectRef& object);

  // Called when everything has been read. Returns false if the cut was given up, so that what was
  // read does not show the tree at one instant.
  bool Finish();
  // Drops the preserved values. From now on operations preserve nothing for this cut.
  void GiveUp();
  bool given_up() const { return state_ == State::kGivenUp; }
  // Returns whether operations still have to preserve things for this cut.
  bool is_preserving() const { return state_ == State::kPreserving; }

  // ---- Operations ----
  // Keeps a duplicate of `path_fd`, because the object is about to lose what may be its last name.
  // Gives the cut up if that cannot be done.
  void PreserveUnlinked(const ObjectId& object, int path_fd);
  enum class Outcome {
    kDone,
    kNoRoom,   // the spill is full; nothing was altered
    kTooMuch,  // it would delay the operation too long, or it cannot be read
  };
  // Preserves what the operation is about to alter.
  Outcome Preserve(const Intent::Item& item);

 private:
  friend class CutObject;
  enum class State : uint8_t { kPreserving, kFinished, kGivenUp };

  struct Piece {
    uint64_t end = 0;
    std::optional<Spill::Value> bytes;  // nullopt if the piece is a hole
  };
  // What is preserved of one object, and which parts of it are settled. Guarded by the shard's
  // mutex.
  struct Preserved {
    bool settled = false;             // all of it is settled
    bool attributes_settled = false;  // if true, `size` is the size at the cut
    uint64_t size = 0;
    std::optional<Attributes> attributes;
    std::optional<Error> xattrs_unreadable;  // if set, `attributes` lacks them
    Spill::Value attributes_charge;          // the memory charged for `attributes`
    RangeSet content_settled;
    std::map<uint64_t, Piece> pieces;  // by their start
    // A clone of the file, if one had to be made and the filesystem can make them. It holds the
    // content that is not settled.
    UniqueFd clone;
  };
  struct Shard {
    Mutex mutex;
    std::unordered_map<ObjectId, Preserved> preserved GUARDED_BY(mutex);
    // Descriptors of objects that may have lost their last name since the cut.
    std::unordered_map<ObjectId, UniqueFd> unlinked GUARDED_BY(mutex);
  };
  // The parts of an object that the cut's changes contain, whether or not they have been read yet.
  struct ChangedParts {
    bool xattrs = false;
    RangeSet data;
  };

  Shard& ShardFor(const ObjectId& object) { return shards_[ShardOf(object)]; }
  bool HasChangesOf(const ObjectId& object) const;
  ChangedParts ChangedPartsOf(const ObjectId& object, ByteRange range) const;
  // Returns nullopt unless the object may have lost its last name since the cut.
  Result<std::optional<SourceObject>> OpenUnlinked(Shard& shard, const ObjectRef& object)
      REQUIRES(shard.mutex);
  // Returns nullopt if the object has no name.
  Result<std::optional<SourceObject>> OpenNamed(const ObjectRef& object, Effort effort) const;
  // Called inside the gate. Returns nullopt if the object had no name at the cut.
  Result<std::optional<SourceObject>> OpenLive(Shard& shard, const ObjectRef& object)
      REQUIRES(shard.mutex);
  Outcome PreserveLocked(Shard& shard, const Intent::Item& item) REQUIRES(shard.mutex);
  Outcome PreserveAttributes(const SourceObject& live, bool with_xattrs, Preserved& preserved);
  Outcome PreserveContent(SourceObject& live, const std::vector<ByteRange>& ranges,
                          Preserved& preserved);
  Outcome PreserveRange(SourceObject& live, ByteRange range, uint64_t& left, Preserved& preserved);
  bool Clone(SourceObject& live, Preserved& preserved);
  void DropPreserved(bool and_unlinked);

  const CutRecord cut_;
  const std::vector<std::shared_ptr<const Layer>> layers_;
  std::shared_ptr<const Layer> changes_;
  const SourceTree& tree_;
  Spill& spill_;
  std::atomic<State> state_{State::kPreserving};
  std::atomic<size_t> unlinked_count_{0};
  std::array<Shard, kShards> shards_;
};

}  // namespace tandem::meta
