// The state database: what must survive the daemon. Its tables, and which of them says what after a
// crash, stand in meta/SCHEMA.md. All SQL of the source side stands in
// state_database.cc and state_schema.cc.
//
// One thread at a time: before the mount the thread that starts, afterwards the one that
// StateWriter lets.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "meta/base/database.h"
#include "meta/base/ids.h"
#include "meta/change_set.h"
#include "meta/hot_object.h"
#include "meta/whereabouts.h"

namespace tandem::meta {

// Keys of the `volume` table that more than one file knows; the others stand in disk_identity.cc.
inline constexpr char kSyncedEpochKey[] = "synced_epoch";
inline constexpr char kDiskFailedKey[] = "disk_failed";
inline constexpr char kWitnessesKey[] = "witnesses";
// Replicas the volume has no more, for the case that they come back (tools/choose_replicas.h).
inline constexpr char kLeftOutKey[] = "left_out";

// The epoch of dirty rows that no cut ends: see DeferredChanges.
inline constexpr Epoch kDeferredEpoch{INT64_MAX};
static_assert(kDeferredEpoch > kNewestEpoch);

struct CutRecord {
  CutName name;
  int64_t wall_time_ns = 0;
};

struct ReplicaRecord {
  std::string name;
  std::string url;
  CutName durable;
  CutName applied;
  // The tree has to be compared, and the content of what the replica changed after this cut.
  bool reconcile_owed = false;
  Epoch compare_after = {};
  bool paused = false;
};

struct HotRow {
  ObjectRef object;
  HotRegion region;
};

// One object's pending changes, as dirty rows: of each epoch, oldest first.
struct DirtyObject {
  ObjectRef object;
  std::vector<std::pair<Epoch, ObjectChange>> changes;
};

class StateDatabase {
 public:
  // Opens or creates DIRECTORY/state.db and brings its schema up to date. kCorrupt: not usable as
  // it is, in its file, its schema or a row; see SetAside. kRefused: written by a newer version.
  static Result<StateDatabase> Open(const std::string& directory);
  // Renames a database that cannot be trusted out of the way and says to what.
  static Result<std::string> SetAside(const std::string& directory);

  // kCorrupt if a handle is not that of the object it stands for: what changed of that object
  // could not be found, and would be taken for removed.
  Status CheckHandles();

  // `volume` table.
  Result<std::optional<std::string>> Get(const std::string& key);
  Status Put(const std::string& key, const std::string& value);

  enum class MarkKind { kPlain, kDurable };
  Status InsertHot(const ObjectRef& object, HotRegion region, MarkKind kind = MarkKind::kPlain);
  Status DeleteHot(const ObjectId& object, HotRegion region);
  // Replaces all dirty rows of the object.
  Status ReplaceDirty(const DirtyObject& dirty);
  // Adds to the dirty rows of the object.
  Status AddDirty(const DirtyObject& dirty);
  Status InsertCut(const CutRecord& cut);
  Status DeleteCut(Epoch epoch);
  // All replicas hold everything up to and including `epoch`: older cuts are forgotten.
  Status DropCuts(Epoch epoch);
  // What changed up to and including `epoch` needs no mark any more.
  Status DropDirty(Epoch epoch);
  // The object's rows of kDeferredEpoch; a null id: everybody's.
  Status DropDeferred(const ObjectId& object);
  Status PutReplica(const ReplicaRecord& replica);
  Status DeleteReplica(const std::string& name);
  // Object rows that no other row needs.
  Status DeleteUnusedObjects();

  // From here on the places of objects are written with their rows (meta/WHEREABOUTS.md). Borrowed.
  void FollowNames(Whereabouts* whereabouts) { whereabouts_ = whereabouts; }
  // Likewise of what has got another name since its place was written.
  Status WriteOutdatedPlaces();
  // Places that no other row needs, once there are many.
  Status DeleteUnusedPlaces();
  Result<std::vector<Whereabouts::Row>> LoadPlaces();

  Result<std::vector<HotRow>> LoadHot();
  Result<std::map<Epoch, ChangeSet>> LoadDirty();
  // In order of number.
  Result<std::vector<CutRecord>> LoadCuts();
  Result<std::vector<ReplicaRecord>> LoadReplicas();

  Database& database() { return database_; }

 private:
  explicit StateDatabase(Database database) : database_(std::move(database)) {}
  Status PrepareAll();
  Status InsertObject(const ObjectRef& object);
  Status InsertPlace(const Whereabouts::Row& row);
  Status InsertPlaces(const ObjectId& object);
  Status InsertChange(const ObjectId& object, Epoch epoch, const ObjectChange& change);

  Database database_;
  Whereabouts* whereabouts_ = nullptr;
  size_t places_written_ = 0;  // since unused ones were deleted
  Statement get_, put_, insert_object_, insert_hot_, delete_hot_, insert_range_, insert_attr_,
      insert_entry_, delete_ranges_, delete_attr_, delete_entries_, insert_cut_, delete_cut_,
      drop_cuts_, drop_ranges_, drop_attrs_, drop_entries_, drop_deferred_ranges_,
      drop_deferred_attrs_, drop_deferred_entries_, put_replica_, delete_replica_, insert_place_;
};

}  // namespace tandem::meta
