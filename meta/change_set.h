// Changes as state: for each object, in which way it differs from what a replica has. One change
// set covers one epoch, or several merged. Not synchronised: the owner locks, or the set is frozen
// and only read.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>

#include "meta/base/ids.h"
#include "meta/base/range_set.h"
#include "meta/file_handle.h"

namespace tandem::meta {

// What names lead to an object: the id, and the handle by which it can be opened again.
struct ObjectRef {
  ObjectId id;
  FileHandle handle;
};

enum AttributeMask : uint8_t {
  kNoAttributes = 0,
  kStatAttributes = 1,  // mode, owner, size, times
  kXattrAttributes = 2,
  kAllAttributes = 3,
};

struct EntryChange {
  ObjectId child;  // null: the name is gone
  // The object the name led to when the epoch's first change of it came; null: none. A replica may
  // still have its content, which is then the basis of the new one's.
  ObjectId replaced;
};

struct ObjectChange {
  FileHandle handle;
  // Known to have changed.
  RangeSet data;
  // Where writes ended so far: all that is known of how much an open range holds.
  uint64_t extent = 0;
  // May have changed (a hot region after a crash): compared with the replica before it is sent.
  RangeSet suspect;
  uint8_t attributes = kNoAttributes;
  // Nothing of the object may be left out: a replica may never have heard of it.
  bool whole = false;
  // Born in this very epoch: its directory's mark covers it until the epoch ends.
  bool born = false;
  // Every name in this directory may have changed.
  bool listing = false;
  // Names changed in this directory.
  std::unordered_map<std::string, EntryChange> entries;

  void AddData(ByteRange range);
  void AddWhole();
  // True: nothing was known of the name.
  bool SetEntry(std::string_view name, ObjectId child, ObjectId replaced);

  bool empty() const {
    return data.empty() && suspect.empty() && attributes == kNoAttributes && !whole && !listing &&
           entries.empty();
  }
  // Takes over what `newer` says; `newer` happened later.
  void MergeNewer(const ObjectChange& newer);
};

using ChangeSet = std::unordered_map<ObjectId, ObjectChange>;

void MergeNewer(ChangeSet& older, const ChangeSet& newer);

// What status shows as pending.
struct PendingCounts {
  uint64_t bytes = 0;
  uint64_t ranges = 0;
  uint64_t entries = 0;
  uint64_t objects = 0;

  void Add(const ObjectChange& change);
  void Add(const PendingCounts& other);
  // Each count becomes the larger of the two.
  void RaiseTo(const PendingCounts& other);
  // Stops at zero.
  void Subtract(const PendingCounts& other);
};

}  // namespace tandem::meta
