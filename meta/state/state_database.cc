#include "meta/state/state_database.h"

#include <unistd.h>

#include <array>
#include <cstdio>

#include "meta/state/state_schema.h"
#include "meta/state/tuning.h"

namespace tandem::meta {
namespace {

constexpr const char* kGet = "SELECT value FROM volume WHERE key=?";
constexpr const char* kPut = "INSERT OR REPLACE INTO volume VALUES(?,?)";
constexpr const char* kInsertObject = "INSERT OR IGNORE INTO object VALUES(?,?)";
constexpr const char* kInsertHot =
    "INSERT INTO hot VALUES(?1,?2,?3,?4) ON CONFLICT(object,region) DO "
    "UPDATE SET durable=max(durable,?3)";
constexpr const char* kDeleteHot = "DELETE FROM hot WHERE object=? AND region=?";
constexpr const char* kInsertRange = "INSERT OR REPLACE INTO dirty_range VALUES(?,?,?,?,?)";
constexpr const char* kInsertAttr =
    "INSERT INTO dirty_attr VALUES(?1,?2,?3) ON CONFLICT(object) DO "
    "UPDATE SET mask=mask|?2, epoch=max(epoch,?3)";
constexpr const char* kInsertEntry =
    "INSERT INTO dirty_entry VALUES(?1,?2,?3,?4) ON CONFLICT(parent,name) DO "
    "UPDATE SET epoch=max(epoch,?4)";
constexpr const char* kDeleteRanges = "DELETE FROM dirty_range WHERE object=?";
constexpr const char* kDeleteAttr = "DELETE FROM dirty_attr WHERE object=?";
constexpr const char* kDeleteEntries = "DELETE FROM dirty_entry WHERE parent=?";
constexpr const char* kInsertCut = "INSERT OR REPLACE INTO epoch VALUES(?,?,?)";
constexpr const char* kDeleteCut = "DELETE FROM epoch WHERE number=?";
// Keeps the cut itself: a replica that holds it needs only what came after.
constexpr const char* kDropCuts = "DELETE FROM epoch WHERE number<?";
constexpr const char* kDropRanges = "DELETE FROM dirty_range WHERE epoch<=?";
constexpr const char* kDropAttrs = "DELETE FROM dirty_attr WHERE epoch<=?";
constexpr const char* kDropEntries = "DELETE FROM dirty_entry WHERE epoch<=?";
constexpr const char* kDropDeferredRanges =
    "DELETE FROM dirty_range WHERE epoch=?1 AND (?2 IS NULL OR object=?2)";
constexpr const char* kDropDeferredAttrs =
    "DELETE FROM dirty_attr WHERE epoch=?1 AND (?2 IS NULL OR object=?2)";
constexpr const char* kDropDeferredEntries =
    "DELETE FROM dirty_entry WHERE epoch=?1 AND (?2 IS NULL OR parent=?2)";
constexpr const char* kPutReplica = "INSERT OR REPLACE INTO replica VALUES(?,?,?,?,?,?,?,?,?,?,?)";
constexpr const char* kDeleteReplica = "DELETE FROM replica WHERE name=?";
constexpr const char* kDeleteUnusedObjects =
    "DELETE FROM object WHERE id NOT IN (SELECT object FROM dirty_range UNION SELECT object FROM "
    "dirty_attr UNION SELECT parent FROM dirty_entry)";
constexpr const char* kInsertPlace = "INSERT OR REPLACE INTO place VALUES(?,?,?)";
// A place is used if its object has hot or dirty rows, or is a directory above such an object.
constexpr const char* kDeleteUnusedPlaces =
    "DELETE FROM place WHERE object NOT IN (WITH RECURSIVE used(id) AS (SELECT object FROM hot "
    "UNION SELECT object FROM dirty_range UNION SELECT object FROM dirty_attr UNION SELECT parent "
    "FROM dirty_entry UNION SELECT place.parent FROM place JOIN used ON place.object=used.id) "
    "SELECT id FROM used)";
constexpr const char* kLoadPlaces = "SELECT object, parent, name FROM place";
constexpr const char* kLoadHot = "SELECT object, region, handle FROM hot";
constexpr const char* kLoadRanges =
    "SELECT object, start, end, suspect, epoch, handle FROM dirty_range JOIN object ON id=object";
constexpr const char* kLoadAttrs =
    "SELECT object, mask, epoch, handle FROM dirty_attr JOIN object ON id=object";
constexpr const char* kLoadEntries =
    "SELECT parent, name, replaced, epoch, handle FROM dirty_entry JOIN object ON id=parent";
constexpr const char* kLoadCuts = "SELECT number, cut, wall_time FROM epoch ORDER BY number";
constexpr const char* kLoadReplicas =
    "SELECT name, url, durable_epoch, durable_cut, applied_epoch, applied_cut, reconcile_owed, "
    "compare_after, paused, paused_until, bandwidth FROM replica ORDER BY name";

int64_t Number(Epoch epoch) { return static_cast<int64_t>(epoch.number()); }
Epoch EpochAt(const Statement& row, int column) {
  return Epoch(static_cast<uint64_t>(row.Int(column)));
}

std::string PathIn(const std::string& directory) { return directory + "/state.db"; }

}  // namespace

Result<StateDatabase> StateDatabase::Open(const std::string& directory) {
  // kNormal: a commit survives kill -9 without waiting for the disk.
  ASSIGN_OR_RETURN(Database database, Database::Open(PathIn(directory), Database::Sync::kNormal));
  RETURN_IF_ERROR(MigrateState(database));
  RETURN_IF_ERROR(CheckStateRows(database));
  StateDatabase state(std::move(database));
  RETURN_IF_ERROR(state.PrepareAll());
  return state;
}

Result<std::string> StateDatabase::SetAside(const std::string& directory) {
  const std::string path = PathIn(directory);
  std::string aside;
  for (int n = 1;; ++n) {
    aside = path + ".damaged-" + std::to_string(n);
    if (access(aside.c_str(), F_OK) != 0) break;
  }
  if (rename(path.c_str(), aside.c_str()) != 0) return ErrnoError("rename " + path);
  // Rename the log as well: SQLite would take it for the log of the new database.
  for (const char* suffix : {"-wal", "-shm"}) {
    if (rename((path + suffix).c_str(), (aside + suffix).c_str()) != 0 && errno != ENOENT) {
      return ErrnoError("rename " + path + suffix);
    }
  }
  return aside;
}

Status StateDatabase::PrepareAll() {
  const std::array<std::pair<Statement*, const char*>, 23> all = {{
      {&get_, kGet},
      {&put_, kPut},
      {&insert_object_, kInsertObject},
      {&insert_hot_, kInsertHot},
      {&delete_hot_, kDeleteHot},
      {&insert_range_, kInsertRange},
      {&insert_attr_, kInsertAttr},
      {&insert_entry_, kInsertEntry},
      {&delete_ranges_, kDeleteRanges},
      {&delete_attr_, kDeleteAttr},
      {&delete_entries_, kDeleteEntries},
      {&insert_cut_, kInsertCut},
      {&delete_cut_, kDeleteCut},
      {&drop_cuts_, kDropCuts},
      {&drop_ranges_, kDropRanges},
      {&drop_attrs_, kDropAttrs},
      {&drop_entries_, kDropEntries},
      {&drop_deferred_ranges_, kDropDeferredRanges},
      {&drop_deferred_attrs_, kDropDeferredAttrs},
      {&drop_deferred_entries_, kDropDeferredEntries},
      {&put_replica_, kPutReplica},
      {&delete_replica_, kDeleteReplica},
      {&insert_place_, kInsertPlace},
  }};
  for (const auto& [statement, sql] : all) {
    ASSIGN_OR_RETURN(*statement, database_.Prepare(sql));
  }
  return {};
}

Status StateDatabase::CheckHandles() { return CheckStateHandles(database_); }

Result<std::optional<std::string>> StateDatabase::Get(const std::string& key) {
  ASSIGN_OR_RETURN(const bool row, get_.BindText(1, key).Step());
  std::optional<std::string> value;
  if (row) value = std::string(get_.Bytes(0));
  get_.Reset();
  return value;
}

Status StateDatabase::Put(const std::string& key, const std::string& value) {
  return put_.BindText(1, key).BindText(2, value).Run();
}

Status StateDatabase::InsertPlace(const Whereabouts::Row& row) {
  ++places_written_;
  return insert_place_.Bind(1, row.object)
      .Bind(2, row.name.parent)
      .BindBlob(3, row.name.name)
      .Run();
}

Status StateDatabase::InsertPlaces(const ObjectId& object) {
  if (whereabouts_ == nullptr || object == kRootObject) return {};
  for (const Whereabouts::Row& row : whereabouts_->TakeUnwritten(object)) {
    RETURN_IF_ERROR(InsertPlace(row));
  }
  return {};
}

Status StateDatabase::WriteOutdatedPlaces() {
  if (whereabouts_ == nullptr) return {};
  for (const Whereabouts::Row& row : whereabouts_->TakeOutdated()) {
    RETURN_IF_ERROR(InsertPlace(row));
  }
  return places_written_ < kPlacesUntilCleaning ? Status() : DeleteUnusedPlaces();
}

Status StateDatabase::DeleteUnusedPlaces() {
  places_written_ = 0;
  if (whereabouts_ != nullptr) whereabouts_->ForgetWritten();
  return database_.Execute(kDeleteUnusedPlaces);
}

Result<std::vector<Whereabouts::Row>> StateDatabase::LoadPlaces() {
  ASSIGN_OR_RETURN(Statement row, database_.Prepare(kLoadPlaces));
  std::vector<Whereabouts::Row> rows;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, row.Step());
    if (!more) return rows;
    rows.push_back({row.Id<ObjectId>(0), {row.Id<ObjectId>(1), std::string(row.Bytes(2))}});
  }
}

Status StateDatabase::InsertObject(const ObjectRef& object) {
  RETURN_IF_ERROR(InsertPlaces(object.id));
  return insert_object_.Bind(1, object.id).BindBlob(2, object.handle.bytes()).Run();
}

Status StateDatabase::InsertHot(const ObjectRef& object, HotRegion region, MarkKind kind) {
  RETURN_IF_ERROR(InsertPlaces(object.id));
  return insert_hot_.Bind(1, object.id)
      .Bind(2, region.code())
      .Bind(3, kind == MarkKind::kDurable ? 1 : 0)
      .BindBlob(4, object.handle.bytes())
      .Run();
}

Status StateDatabase::DeleteHot(const ObjectId& object, HotRegion region) {
  return delete_hot_.Bind(1, object).Bind(2, region.code()).Run();
}

Status StateDatabase::ReplaceDirty(const DirtyObject& dirty) {
  RETURN_IF_ERROR(delete_ranges_.Bind(1, dirty.object.id).Run());
  RETURN_IF_ERROR(delete_attr_.Bind(1, dirty.object.id).Run());
  RETURN_IF_ERROR(delete_entries_.Bind(1, dirty.object.id).Run());
  return AddDirty(dirty);
}

Status StateDatabase::AddDirty(const DirtyObject& dirty) {
  if (dirty.changes.empty()) return {};
  RETURN_IF_ERROR(InsertObject(dirty.object));
  for (const auto& [epoch, change] : dirty.changes) {
    RETURN_IF_ERROR(InsertChange(dirty.object.id, epoch, change));
  }
  return {};
}

Status StateDatabase::InsertChange(const ObjectId& object, Epoch epoch,
                                   const ObjectChange& change) {
  const auto insert_ranges = [&](const RangeSet& ranges, bool suspect) -> Status {
    for (const ByteRange& range : ranges.ToVector()) {
      RETURN_IF_ERROR(insert_range_.Bind(1, object)
                          .Bind(2, static_cast<int64_t>(range.start))
                          .Bind(3, static_cast<int64_t>(range.end))
                          .Bind(4, suspect ? 1 : 0)
                          .Bind(5, Number(epoch))
                          .Run());
    }
    return {};
  };
  RETURN_IF_ERROR(insert_ranges(change.data, false));
  RETURN_IF_ERROR(insert_ranges(change.suspect, true));
  if (const int64_t mask = change.attributes | (change.whole ? kWholeBit : 0); mask != 0) {
    RETURN_IF_ERROR(insert_attr_.Bind(1, object).Bind(2, mask).Bind(3, Number(epoch)).Run());
  }
  const auto insert_entry = [&](std::string_view name, ObjectId replaced) -> Status {
    insert_entry_.Bind(1, object).BindBlob(2, name);
    if (replaced.is_null()) {
      insert_entry_.BindNull(3);
    } else {
      insert_entry_.Bind(3, replaced);
    }
    return insert_entry_.Bind(4, Number(epoch)).Run();
  };
  // The empty name stands for all names.
  if (change.listing) RETURN_IF_ERROR(insert_entry("", ObjectId()));
  for (const auto& [name, entry] : change.entries) {
    RETURN_IF_ERROR(insert_entry(name, entry.replaced));
  }
  return {};
}

Status StateDatabase::InsertCut(const CutRecord& cut) {
  return insert_cut_.Bind(1, Number(cut.name.epoch))
      .Bind(2, cut.name.id)
      .Bind(3, cut.wall_time_ns)
      .Run();
}

Status StateDatabase::DeleteCut(Epoch epoch) { return delete_cut_.Bind(1, Number(epoch)).Run(); }

Status StateDatabase::DropCuts(Epoch epoch) { return drop_cuts_.Bind(1, Number(epoch)).Run(); }

Status StateDatabase::DropDirty(Epoch epoch) {
  for (Statement* statement : {&drop_ranges_, &drop_attrs_, &drop_entries_}) {
    RETURN_IF_ERROR(statement->Bind(1, Number(epoch)).Run());
  }
  return {};
}

Status StateDatabase::DropDeferred(const ObjectId& object) {
  for (Statement* statement :
       {&drop_deferred_ranges_, &drop_deferred_attrs_, &drop_deferred_entries_}) {
    statement->Bind(1, Number(kDeferredEpoch));
    if (object.is_null()) {
      statement->BindNull(2);
    } else {
      statement->Bind(2, object);
    }
    RETURN_IF_ERROR(statement->Run());
  }
  return {};
}

Status StateDatabase::PutReplica(const ReplicaRecord& replica) {
  return put_replica_.BindText(1, replica.name)
      .BindText(2, replica.url)
      .Bind(3, Number(replica.durable.epoch))
      .Bind(4, replica.durable.id)
      .Bind(5, Number(replica.applied.epoch))
      .Bind(6, replica.applied.id)
      .Bind(7, replica.reconcile_owed ? 1 : 0)
      .Bind(8, Number(replica.compare_after))
      .Bind(9, replica.paused ? 1 : 0)
      .Bind(10, replica.paused_until)
      .BindText(11, replica.bandwidth)
      .Run();
}

Status StateDatabase::DeleteReplica(const std::string& name) {
  return delete_replica_.BindText(1, name).Run();
}

Status StateDatabase::DeleteUnusedObjects() { return database_.Execute(kDeleteUnusedObjects); }

Result<std::vector<HotRow>> StateDatabase::LoadHot() {
  ASSIGN_OR_RETURN(Statement row, database_.Prepare(kLoadHot));
  std::vector<HotRow> rows;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, row.Step());
    if (!more) return rows;
    rows.push_back(
        {{row.Id<ObjectId>(0), FileHandle(row.Bytes(2))}, HotRegion::FromCode(row.Int(1))});
  }
}

Result<std::map<Epoch, ChangeSet>> StateDatabase::LoadDirty() {
  std::map<Epoch, ChangeSet> dirty;
  const auto change_of = [&dirty](const Statement& row, int epoch, int handle) -> ObjectChange& {
    ObjectChange& change = dirty[EpochAt(row, epoch)][row.Id<ObjectId>(0)];
    change.handle = FileHandle(row.Bytes(handle));
    return change;
  };
  const auto for_each = [this](const char* sql, const auto& take) -> Status {
    ASSIGN_OR_RETURN(Statement row, database_.Prepare(sql));
    while (true) {
      ASSIGN_OR_RETURN(const bool more, row.Step());
      if (!more) return {};
      take(row);
    }
  };
  RETURN_IF_ERROR(for_each(kLoadRanges, [&](const Statement& row) {
    ObjectChange& change = change_of(row, 4, 5);
    RangeSet& ranges = row.Int(3) != 0 ? change.suspect : change.data;
    ranges.Add({static_cast<uint64_t>(row.Int(1)), static_cast<uint64_t>(row.Int(2))});
  }));
  RETURN_IF_ERROR(for_each(kLoadAttrs, [&](const Statement& row) {
    ObjectChange& change = change_of(row, 2, 3);
    change.attributes |= row.Int(1) & kAllAttributes;
    if ((row.Int(1) & kWholeBit) != 0) change.AddWhole();
  }));
  RETURN_IF_ERROR(for_each(kLoadEntries, [&](const Statement& row) {
    ObjectChange& change = change_of(row, 3, 4);
    if (row.Bytes(1).empty()) {
      change.listing = true;
    } else {
      change.SetEntry(row.Bytes(1), ObjectId(), row.Id<ObjectId>(2));
    }
  }));
  return dirty;
}

Result<std::vector<CutRecord>> StateDatabase::LoadCuts() {
  ASSIGN_OR_RETURN(Statement row, database_.Prepare(kLoadCuts));
  std::vector<CutRecord> cuts;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, row.Step());
    if (!more) return cuts;
    cuts.push_back({{EpochAt(row, 0), row.Id<CutId>(1)}, row.Int(2)});
  }
}

Result<std::vector<ReplicaRecord>> StateDatabase::LoadReplicas() {
  ASSIGN_OR_RETURN(Statement row, database_.Prepare(kLoadReplicas));
  std::vector<ReplicaRecord> replicas;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, row.Step());
    if (!more) return replicas;
    replicas.push_back({std::string(row.Bytes(0)),
                        std::string(row.Bytes(1)),
                        {EpochAt(row, 2), row.Id<CutId>(3)},
                        {EpochAt(row, 4), row.Id<CutId>(5)},
                        row.Int(6) != 0,
                        EpochAt(row, 7),
                        row.Int(8) != 0,
                        row.Int(9),
                        std::string(row.Bytes(10))});
  }
}

}  // namespace tandem::meta
