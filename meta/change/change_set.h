// Changes as state: for each object, the ways in which it differs from what a replica has. A
// ChangeSet covers one epoch, or several that were merged. Not synchronised: the owner locks, or
// the set is frozen and only read.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>

#include "meta/base/ids.h"
#include "meta/base/range_set.h"
#include "meta/change/file_handle.h"

namespace tandem::meta {

// Refers to an object: its id, and the handle by which it can be opened again.
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
  ObjectId child;  // null if the name was removed
  // The object the name led to before its first change in the epoch; null if there was none. A
  // replica may still have its content, which then serves as the basis for the new object's.
  ObjectId replaced;
};

struct ObjectChange {
  FileHandle handle;
  // The ranges of the content that are known to have changed.
  RangeSet data;
  // The highest end of any write so far. Nothing else tells how many bytes a range up to
  // kEndOfFile covers.
  uint64_t extent = 0;
  // Ranges that may have changed (hot regions after a crash). They are compared with the replica
  // before they are sent.
  RangeSet suspect;
  uint8_t attributes = kNoAttributes;
  // The whole object has to be sent, because a replica may not know it.
  bool whole = false;
  // All of the content was lost at one time, and is in `data`. A cut has all attributes of the
  // object then, as if it were whole.
  bool rewritten = false;
  // The object was born in this epoch, so its directory's mark covers it until the epoch ends.
  bool born = false;
  // Every name in this directory may have changed.
  bool listing = false;
  // The names that changed in this directory.
  std::unordered_map<std::string, EntryChange> entries;

  void AddData(ByteRange range);
  void AddWhole();
  // Returns true if the name was not in `entries` yet.
  bool SetEntry(std::string_view name, ObjectId child, ObjectId replaced);

  bool empty() const {
    return data.empty() && suspect.empty() && attributes == kNoAttributes && !whole && !listing &&
           entries.empty();
  }
  // Merges `newer`, which contains later changes, into this change.
  void MergeNewer(const ObjectChange& newer);
};

using ChangeSet = std::unordered_map<ObjectId, ObjectChange>;

void MergeNewer(ChangeSet& older, const ChangeSet& newer);

// The counts that status shows as pending.
struct PendingCounts {
  uint64_t bytes = 0;
  uint64_t ranges = 0;
  uint64_t entries = 0;
  uint64_t objects = 0;

  void Add(const ObjectChange& change);
  void Add(const PendingCounts& other);
  // Sets each count to the larger of the two.
  void RaiseTo(const PendingCounts& other);
  // Subtracts each count, stopping at zero.
  void Subtract(const PendingCounts& other);
};

}  // namespace tandem::meta
