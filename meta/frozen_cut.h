// Layers and frozen cuts. A layer is the change set of one closed epoch (or of several, merged); it
// does not change any more. A FrozenCut is what one replica needs to go from its cut to a newer
// one, and the only way to read the objects concerned: the sender asks it, never the live file.
//
// Values as of the cut: entries are part of the changes themselves; an object unlinked since is
// kept by an open descriptor. Content and attributes are read live so far: what was changed since
// the cut is in a later epoch and travels with the next cut.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "meta/base/mutex.h"
#include "meta/change_set.h"
#include "meta/source_tree.h"
#include "meta/state_database.h"

namespace tandem::meta {

inline constexpr size_t kShards = 64;
inline size_t ShardOf(const ObjectId& object) { return object.low() % kShards; }

struct Layer {
  CutRecord cut;                // that ended the epoch
  int64_t first_change_ns = 0;  // wall time of the oldest change
  std::array<ChangeSet, kShards> shards;

  const ObjectChange* Find(const ObjectId& object) const;
  bool empty() const;
  size_t object_count() const;
  void MergeNewer(const Layer& newer);
};

// One thread reads; Keep and GiveUp may be called from any.
class FrozenCut {
 public:
  // `layers` are those after the replica's cut, oldest first.
  FrozenCut(CutRecord cut, const std::vector<std::shared_ptr<const Layer>>& layers,
            const SourceTree& tree);

  const CutRecord& cut() const { return cut_; }
  const Layer& changes() const { return *changes_; }

  // Nothing: the object was gone already at the cut, or has no name in it.
  Result<std::optional<SourceObject>> Open(const ObjectRef& object) const EXCLUDES(mutex_);

  // The object is about to lose what may be its last name.
  void Keep(const ObjectId& object, int path_fd) EXCLUDES(mutex_);
  // It can no longer be shipped as it was. The next cut covers the same changes.
  void GiveUp() { given_up_ = true; }
  bool given_up() const { return given_up_; }

 private:
  const CutRecord cut_;
  std::shared_ptr<const Layer> changes_;
  const SourceTree& tree_;
  std::atomic<bool> given_up_{false};
  mutable Mutex mutex_;
  std::unordered_map<ObjectId, UniqueFd> kept_ GUARDED_BY(mutex_);
};

}  // namespace tandem::meta
