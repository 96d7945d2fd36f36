// The state database holds what must survive the daemon. meta/SCHEMA.md describes its tables and
// what each of them means after a crash. All SQL of the source side is in state_database.cc and
// state_schema.cc.
//
// One thread at a time: before the mount the starting thread, afterwards the thread whose turn it
// is in StateWriter.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "meta/base/database.h"
#include "meta/base/ids.h"
#include "meta/change/change_set.h"
#include "meta/change/cut_record.h"
#include "meta/change/hot_region.h"
#include "meta/source/whereabouts.h"

namespace tandem::meta {

// Keys of the `volume` table that more than one file uses. The others are in disk_identity.cc.
inline constexpr char kSyncedEpochKey[] = "synced_epoch";
inline constexpr char kDiskFailedKey[] = "disk_failed";
inline constexpr char kWitnessesKey[] = "witnesses";
// Replicas that were removed from the volume, in case they come back (tools/choose_replicas.h).
inline constexpr char kLeftOutKey[] = "left_out";

// The epoch of the dirty rows of deferred changes. No cut ends it. See DeferredChanges.
inline constexpr Epoch kDeferredEpoch{INT64_MAX};
static_assert(kDeferredEpoch > kNewestEpoch);

struct ReplicaRecord {
  std::string name;
  std::string url;
  CutName durable;
  CutName applied;
  // The tree has to be compared with the replica.
  bool reconcile_owed = false;
  // Then also the content of everything that the replica changed after this epoch.
  Epoch compare_after = {};
  bool paused = false;
  int64_t paused_until = 0;    // seconds since 1970; 0: until it is resumed
  std::string bandwidth = {};  // as in replica/source/bandwidth.h
};

struct HotRow {
  ObjectRef object;
  HotRegion region;
};

// The pending changes of one object, to be stored as dirty rows. One ObjectChange for each epoch,
// oldest first.
struct DirtyObject {
  ObjectRef object;
  std::vector<std::pair<Epoch, ObjectChange>> changes;
};

class StateDatabase {
 public:
  // Opens or creates DIRECTORY/state.db and migrates it to the current schema. Returns kCorrupt if
  // the file, the schema or a row is damaged (then see SetAside), and kRefused if a newer version
  // has written it.
  static Result<StateDatabase> Open(const std::string& directory);
  // Renames a damaged database out of the way and returns its new path.
  static Result<std::string> SetAside(const std::string& directory);

  // Returns kCorrupt if a row holds the handle of another object than its own. The object could not
  // be opened by it and would be taken for removed.
  Status CheckHandles();

  // Read and write the `volume` table. Get returns nullopt if there is no such key.
  Result<std::optional<std::string>> Get(const std::string& key);
  Status Put(const std::string& key, const std::string& value);

  enum class MarkKind { kPlain, kDurable };
  Status InsertHot(const ObjectRef& object, HotRegion region, MarkKind kind = MarkKind::kPlain);
  Status DeleteHot(const ObjectId& object, HotRegion region);
  // Replaces all dirty rows of the object.
  Status ReplaceDirty(const DirtyObject& dirty);
  // Adds dirty rows of the object.
  Status AddDirty(const DirtyObject& dirty);
  Status InsertCut(const CutRecord& cut);
  Status DeleteCut(Epoch epoch);
  // Deletes all cuts before `epoch`. Requires that every replica has applied `epoch`.
  Status DropCuts(Epoch epoch);
  // Deletes the dirty rows up to and including `epoch`. Requires that their changes need no mark
  // any more.
  Status DropDirty(Epoch epoch);
  // Deletes the object's rows of kDeferredEpoch; those of all objects if the id is null.
  Status DropDeferred(const ObjectId& object);
  Status PutReplica(const ReplicaRecord& replica);
  Status DeleteReplica(const std::string& name);
  // Deletes the rows of `object` that no dirty row refers to.
  Status DeleteUnusedObjects();

  // From now on the places of objects are written together with their rows (meta/WHEREABOUTS.md).
  // `whereabouts` is borrowed.
  void FollowNames(Whereabouts* whereabouts) { whereabouts_ = whereabouts; }
  // Writes the places of objects that got another name since their place was written. If many
  // places have been written, deletes the unused ones.
  Status WriteOutdatedPlaces();
  // Deletes the places that no other row needs.
  Status DeleteUnusedPlaces();
  Result<std::vector<Whereabouts::Row>> LoadPlaces();

  Result<std::vector<HotRow>> LoadHot();
  Result<std::map<Epoch, ChangeSet>> LoadDirty();
  // Returns the cuts in order of their numbers.
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
  size_t places_written_ = 0;  // since unused places were last deleted
  Statement get_, put_, insert_object_, insert_hot_, delete_hot_, insert_range_, insert_attr_,
      insert_entry_, delete_ranges_, delete_attr_, delete_entries_, insert_cut_, delete_cut_,
      drop_cuts_, drop_ranges_, drop_attrs_, drop_entries_, drop_deferred_ranges_,
      drop_deferred_attrs_, drop_deferred_entries_, put_replica_, delete_replica_, insert_place_;
};

}  // namespace tandem::meta
