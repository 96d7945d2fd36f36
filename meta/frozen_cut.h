// A frozen cut: what one replica needs to go from its cut to a newer one, and the only way to read
// the objects concerned as they were at that instant, while operations go on (DESIGN section 4,
// "Reading a frozen cut").
//
// Names are part of the changes. Of everything else the cut keeps what an operation is about to
// alter and the reader has not read yet: bytes, attributes, and, by an open descriptor, objects
// that lose their last name. Both sides meet at a lock for each shard of objects:
//
//   the reader                               an operation, inside the gate, before its call
//   reads the live object, then locks,       locks, reads what it will alter and what is not
//   puts kept values over what it read,      settled yet, keeps that and marks it settled,
//   marks that as settled, unlocks           unlocks
//
// So whatever the live read saw, what an operation altered before the reader locked has been
// preserved, and what is altered later no longer matters. "Settled" are bytes and attributes that
// nobody needs to keep any more.
//
// A cut that cannot be kept is given up: reading goes on, but what was read is of no one moment,
// and a newer cut must follow before any of it counts.
#pragma once

#include <array>
#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "meta/base/mutex.h"
#include "meta/capture.h"
#include "meta/layer.h"
#include "meta/object_reader.h"
#include "meta/source_tree.h"
#include "meta/spill.h"

namespace tandem::meta {

// Read by one thread, the sender's. Keep, Preserve and GiveUp: any, but the first two only inside
// the gate.
class FrozenCut {
 public:
  // `layers` are those after the replica's cut, oldest first. Made while the gate is closed, so it
  // copies nothing.
  FrozenCut(CutRecord cut, std::vector<std::shared_ptr<const Layer>> layers, const SourceTree& tree,
            Spill& spill);

  const CutRecord& cut() const { return cut_; }
  // All layers merged.
  const Layer& changes();

  // Nothing: the object was gone already at the cut, or has no name in it. The reader must not
  // outlive the cut.
  Result<std::unique_ptr<ObjectReader>> Open(const ObjectRef& object);

  // Everything has been read. False: the cut was given up, what was read is of no one moment.
  bool Finish();
  // What is kept is dropped, and nothing more is preserved.
  void GiveUp();
  bool given_up() const { return state_ == State::kGivenUp; }
  // Whether operations still have to keep things for it.
  bool is_preserving() const { return state_ == State::kPreserving; }

  // ---- Operations ----
  // The object is about to lose what may be its last name.
  void PreserveUnlinked(const ObjectId& object, int path_fd);
  enum class Outcome {
    kDone,
    kNoRoom,   // the spill is full; nothing was altered
    kTooMuch,  // more than one operation may be held up for, or it cannot be read
  };
  // The operation is about to alter this.
  Outcome Preserve(const Intent::Item& item);

 private:
  friend class CutObject;
  enum class State : uint8_t { kPreserving, kFinished, kGivenUp };

  struct Piece {
    uint64_t end = 0;
    std::optional<Spill::Value> bytes;  // none: a hole
  };
  // What is known of one object's past. Guarded by its shard's lock.
  struct Preserved {
    bool settled = false;             // nothing of it is needed any more
    bool attributes_settled = false;  // from here on `size` is the size at the cut
    uint64_t size = 0;
    std::optional<Attributes> attributes;
    std::optional<Error> xattrs_unreadable;  // then `attributes` is without
    Spill::Value attributes_charge;
    RangeSet content_settled;
    std::map<uint64_t, Piece> pieces;  // by where they start
    // A clone of the file, where the filesystem can make one: content that is not settled is there.
    UniqueFd clone;
  };
  struct Shard {
    Mutex mutex;
    std::unordered_map<ObjectId, Preserved> preserved GUARDED_BY(mutex);
    // Objects that may have lost their last name since.
    std::unordered_map<ObjectId, UniqueFd> unlinked GUARDED_BY(mutex);
  };
  // What of an object the cut is about, before anything is read.
  struct ChangedParts {
    bool any = false;
    bool xattrs = false;
    RangeSet data;
  };

  Shard& ShardFor(const ObjectId& object) { return shards_[ShardOf(object)]; }
  bool HasChangesOf(const ObjectId& object) const;
  ChangedParts ChangedPartsOf(const ObjectId& object, ByteRange range) const;
  // Nothing: the object has a name, or had none at the cut.
  Result<std::optional<SourceObject>> OpenUnlinked(Shard& shard, const ObjectRef& object)
      REQUIRES(shard.mutex);
  // Nothing: it has no name.
  Result<std::optional<SourceObject>> OpenNamed(const ObjectRef& object, Effort effort) const;
  // Inside the gate.
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
