#include "meta/state/state_schema.h"

#include <iterator>
#include <string>
#include <string_view>

#include "meta/change/change_set.h"
#include "meta/change/file_handle.h"
#include "meta/state/state_database.h"

namespace tandem::meta {
namespace {

// Since version 4 a state may be of a volume whose ids are placed (meta/change/file_handle.h),
// which older versions would take for ids of other objects. The tables are those of version 3.
// Version 5 has `paused_until` and `bandwidth` of replicas.
constexpr int kSchemaVersion = 5;

constexpr const char* kCreate = R"(
CREATE TABLE volume(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE epoch(number INTEGER PRIMARY KEY, cut BLOB NOT NULL, wall_time INTEGER NOT NULL);
CREATE TABLE object(id BLOB PRIMARY KEY, handle BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE hot(object BLOB NOT NULL, region INTEGER NOT NULL, durable INTEGER NOT NULL,
  handle BLOB NOT NULL, PRIMARY KEY(object, region)) WITHOUT ROWID;
CREATE TABLE dirty_range(object BLOB NOT NULL, start INTEGER NOT NULL, end INTEGER NOT NULL,
  suspect INTEGER NOT NULL, epoch INTEGER NOT NULL,
  PRIMARY KEY(object, start, end, suspect)) WITHOUT ROWID;
CREATE TABLE dirty_attr(object BLOB PRIMARY KEY, mask INTEGER NOT NULL,
  epoch INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE dirty_entry(parent BLOB NOT NULL, name BLOB NOT NULL, replaced BLOB,
  epoch INTEGER NOT NULL, PRIMARY KEY(parent, name)) WITHOUT ROWID;
CREATE TABLE replica(name TEXT PRIMARY KEY, url TEXT NOT NULL,
  durable_epoch INTEGER NOT NULL, durable_cut BLOB NOT NULL,
  applied_epoch INTEGER NOT NULL, applied_cut BLOB NOT NULL,
  reconcile_owed INTEGER NOT NULL, compare_after INTEGER NOT NULL,
  paused INTEGER NOT NULL, paused_until INTEGER NOT NULL,
  bandwidth TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE place(object BLOB PRIMARY KEY, parent BLOB NOT NULL,
  name BLOB NOT NULL) WITHOUT ROWID;
CREATE INDEX dirty_range_epoch ON dirty_range(epoch);
CREATE INDEX dirty_attr_epoch ON dirty_attr(epoch);
CREATE INDEX dirty_entry_epoch ON dirty_entry(epoch);
)";

// The tables that an undamaged schema has. All later schemas keep the table `volume` unchanged.
constexpr Database::Table kVolumeTable = {"volume", "key*,value"};
constexpr auto kTables = {
    kVolumeTable,
    Database::Table{"epoch", "number*,cut,wall_time"},
    Database::Table{"object", "id*,handle"},
    Database::Table{"dirty_range", "object*,start*,end*,suspect*,epoch"},
    Database::Table{"dirty_attr", "object*,mask,epoch"},
    Database::Table{"dirty_entry", "parent*,name*,replaced,epoch"},
};
constexpr Database::Table kReplicaTable = {
    "replica",
    "name*,url,durable_epoch,durable_cut,applied_epoch,applied_cut,reconcile_owed,compare_after,"
    "paused,paused_until,bandwidth"};
// The table `replica` up to schema 4.
constexpr Database::Table kReplicaTable4 = {
    "replica",
    "name*,url,durable_epoch,durable_cut,applied_epoch,applied_cut,reconcile_owed,compare_after,"
    "paused"};
constexpr Database::Table kHotTable = {"hot", "object*,region*,durable,handle"};
constexpr Database::Table kPlaceTable = {"place", "object*,parent,name"};
// The table `hot` in schema 1.
constexpr Database::Table kHotTable1 = {"hot", "object*,region*,durable"};

// In schema 1 the handles of hot objects were in `object`, so that a mark wrote two rows.
constexpr const char* kFrom1 = R"(
ALTER TABLE hot ADD COLUMN handle BLOB NOT NULL DEFAULT x'';
UPDATE hot SET handle=ifnull((SELECT handle FROM object WHERE id=hot.object), x'');
)";

// Up to schema 2 there were no places: every object was opened by its handle or searched for.
constexpr const char* kFrom2 = R"(
CREATE TABLE place(object BLOB PRIMARY KEY, parent BLOB NOT NULL,
  name BLOB NOT NULL) WITHOUT ROWID;
)";

// Up to schema 4 a pause had no end, and nothing limited the bandwidth.
constexpr const char* kFrom4 = R"(
ALTER TABLE replica ADD COLUMN paused_until INTEGER NOT NULL DEFAULT 0;
ALTER TABLE replica ADD COLUMN bandwidth TEXT NOT NULL DEFAULT '';
)";

// Conditions on a column $. ?1 is kNewestEpoch, ?2 is kDeferredEpoch.
constexpr char kIsText[] = "typeof($)='text'";
constexpr char kIsNumber[] = "typeof($)='integer'";
constexpr char kIsId[] = "typeof($)='blob' AND length($)=16";
constexpr char kIsIdOrNull[] = "$ IS NULL OR (typeof($)='blob' AND length($)=16)";
constexpr char kIsHandle[] = "typeof($)='blob' AND length($)<=255";
constexpr char kIsObject[] = "$ IN (SELECT id FROM object)";
constexpr char kIsName[] =
    "typeof($)='blob' AND instr($,x'00')=0 AND instr($,x'2f')=0 AND $ NOT IN (x'2e',x'2e2e')";
constexpr char kIsCut[] = "typeof($)='integer' AND $ BETWEEN 0 AND ?1";
constexpr char kIsDirtyEpoch[] = "typeof($)='integer' AND ($ BETWEEN 0 AND ?1 OR $=?2)";
constexpr char kIsOffset[] = "typeof($)='integer' AND $>=0";
constexpr char kIsEnd[] = "typeof($)='integer' AND $>start";
// The bits of AttributeMask and kWholeBit.
constexpr char kIsMask[] = "typeof($)='integer' AND $ BETWEEN 1 AND 7";
static_assert((kAllAttributes | kWholeBit) == 7);

struct ColumnRule {
  std::string_view table;  // the rules of one table are adjacent
  std::string_view column;
  std::string_view rule;
};
constexpr ColumnRule kColumnRules[] = {
    {"volume", "key", kIsText},
    {"volume", "value", kIsText},
    {"epoch", "number", kIsCut},
    {"epoch", "cut", kIsId},
    {"epoch", "wall_time", kIsNumber},
    {"object", "id", kIsId},
    {"object", "handle", kIsHandle},
    {"hot", "object", kIsId},
    {"hot", "region", kIsNumber},
    {"hot", "handle", kIsHandle},
    {"place", "object", kIsId},
    {"place", "parent", kIsId},
    {"place", "name", kIsName},
    {"dirty_range", "object", kIsObject},
    {"dirty_range", "start", kIsOffset},
    {"dirty_range", "end", kIsEnd},
    {"dirty_range", "epoch", kIsDirtyEpoch},
    {"dirty_attr", "object", kIsObject},
    {"dirty_attr", "mask", kIsMask},
    {"dirty_attr", "epoch", kIsDirtyEpoch},
    {"dirty_entry", "parent", kIsObject},
    {"dirty_entry", "name", kIsName},
    {"dirty_entry", "replaced", kIsIdOrNull},
    {"dirty_entry", "epoch", kIsDirtyEpoch},
    {"replica", "name", kIsText},
    {"replica", "url", kIsText},
    {"replica", "durable_epoch", kIsCut},
    {"replica", "durable_cut", kIsId},
    {"replica", "applied_epoch", kIsCut},
    {"replica", "applied_cut", kIsId},
    {"replica", "reconcile_owed", kIsNumber},
    {"replica", "compare_after", kIsCut},
    {"replica", "paused", kIsNumber},
    {"replica", "paused_until", kIsNumber},
    {"replica", "bandwidth", kIsText},
};

std::string ConditionOf(const ColumnRule& rule) {
  std::string condition;
  for (const char character : rule.rule) {
    if (character == '$') {
      condition.append(rule.column);
    } else {
      condition.push_back(character);
    }
  }
  return "(" + condition + ")";
}

constexpr const char* kLoadHandles =
    "SELECT id, handle FROM object UNION ALL SELECT object, handle FROM hot";

}  // namespace

Status MigrateState(Database& database) {
  ASSIGN_OR_RETURN(const int version, database.UserVersion());
  if (version > kSchemaVersion) {
    // If the table `volume` is damaged, the number is probably damaged too.
    RETURN_IF_ERROR(database.CheckTables({kVolumeTable}));
    const std::string number = std::to_string(version);
    return MakeError(ErrorKind::kRefused, "state database " + database.path() +
                                              " was written by a newer tandemfs, with schema " +
                                              number + " (this one knows up to " +
                                              std::to_string(kSchemaVersion) +
                                              "): use one that knows schema " + number);
  }
  ASSIGN_OR_RETURN(const bool is_new, database.HasNoTables());
  if (version < 0 || (version == 0 && !is_new)) {
    return MakeError(ErrorKind::kCorrupt, "check database " + database.path() + " (" +
                                              std::to_string(version) +
                                              " is not a valid schema number)");
  }
  if (version < kSchemaVersion) {
    if (version != 0) {
      RETURN_IF_ERROR(database.CheckTables(kTables));
      RETURN_IF_ERROR(
          database.CheckTables({kReplicaTable4, version == 1 ? kHotTable1 : kHotTable}));
    }
    if (version == 3 || version == 4) RETURN_IF_ERROR(database.CheckTables({kPlaceTable}));
    if (version == 2) {
      if (database.CheckTables({kPlaceTable})) {
        return MakeError(ErrorKind::kCorrupt, "check database " + database.path() +
                                                  " (its tables are not those of schema 2)");
      }
    }
    ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(database));
    if (version == 0) {
      RETURN_IF_ERROR(database.Execute(kCreate));
    } else {
      if (version == 1) RETURN_IF_ERROR(database.Execute(kFrom1));
      if (version <= 2) RETURN_IF_ERROR(database.Execute(kFrom2));
      RETURN_IF_ERROR(database.Execute(kFrom4));
    }
    RETURN_IF_ERROR(database.SetUserVersion(kSchemaVersion));
    RETURN_IF_ERROR(transaction.Commit());
  }
  RETURN_IF_ERROR(database.CheckTables(kTables));
  return database.CheckTables({kHotTable, kPlaceTable, kReplicaTable});
}

Status CheckStateRows(Database& database) {
  for (const ColumnRule* rule = std::begin(kColumnRules); rule != std::end(kColumnRules);) {
    const std::string table(rule->table);
    std::string all = "TRUE";
    for (; rule != std::end(kColumnRules) && rule->table == table; ++rule) {
      all += " AND " + ConditionOf(*rule);
    }
    ASSIGN_OR_RETURN(Statement row, database.Prepare("SELECT 1 FROM " + table + " WHERE (" + all +
                                                     ") IS NOT TRUE LIMIT 1"));
    row.Bind(1, static_cast<int64_t>(kNewestEpoch.number()))
        .Bind(2, static_cast<int64_t>(kDeferredEpoch.number()));
    ASSIGN_OR_RETURN(const bool found, row.Step());
    if (!found) continue;
    return MakeError(ErrorKind::kCorrupt, "check database " + database.path() + " (table " + table +
                                              " holds an invalid value)");
  }
  return {};
}

Status CheckStateHandles(Database& database) {
  ASSIGN_OR_RETURN(Statement row, database.Prepare(kLoadHandles));
  while (true) {
    ASSIGN_OR_RETURN(const bool more, row.Step());
    if (!more) return {};
    const auto id = row.Id<ObjectId>(0);
    const FileHandle handle(row.Bytes(1));
    if (id == kRootObject || handle.empty() || ObjectIdOf(handle) == id) continue;
    return MakeError(ErrorKind::kCorrupt,
                     "check database " + database.path() + " (a handle does not match its object)");
  }
}

}  // namespace tandem::meta
