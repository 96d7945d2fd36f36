#include "replica/apply/catalog_schema.h"

#include <string>

#include "meta/source/attributes.h"
#include "replica/apply/block_digests.h"
#include "replica/apply/damaged_objects.h"
#include "replica/apply/lacking_objects.h"
#include "replica/apply/short_objects.h"
#include "replica/apply/standing_names.h"

namespace tandem::replica {
namespace {

constexpr int kSchemaVersion = 7;

// `inode` is an InodeId. Times are split into seconds and nanoseconds so that nothing is lost.
// `cut` is the epoch of the cut that last changed the row. Blobs of ids are 16 bytes, big endian.
constexpr char kSchema[] =
    "CREATE TABLE object ("
    "  id BLOB PRIMARY KEY, kind INTEGER, inode BLOB, permissions INTEGER, uid INTEGER,"
    "  gid INTEGER, size INTEGER, device INTEGER, link_count INTEGER,"
    "  access_s INTEGER, access_ns INTEGER, modify_s INTEGER, modify_ns INTEGER,"
    "  change_s INTEGER, change_ns INTEGER, link_target BLOB, xattrs BLOB, cut INTEGER"
    ") WITHOUT ROWID;"
    "CREATE INDEX object_inode ON object (inode);"
    "CREATE TABLE entry ("
    "  parent BLOB, name BLOB, child BLOB, cut INTEGER, PRIMARY KEY (parent, name)"
    ") WITHOUT ROWID;"
    "CREATE INDEX entry_child ON entry (child);"
    "CREATE TABLE applied (one INTEGER PRIMARY KEY CHECK (one = 1), epoch INTEGER, cut BLOB,"
    "  wall_time_ns INTEGER);"
    "INSERT INTO applied VALUES (1, 0, zeroblob(16), 0);";

// Since version 2: the names, separated by blanks, of the extended attributes that an object lacks
// in the tree.
constexpr char kLackingSchema[] =
    "CREATE TABLE lacking (object BLOB PRIMARY KEY, xattrs BLOB) WITHOUT ROWID;";

// Since version 4: likewise, what was withheld of it (special_attributes.h).
constexpr char kWithheldSchema[] =
    "ALTER TABLE lacking ADD COLUMN withheld BLOB DEFAULT x'';"
    "CREATE INDEX lacking_withheld ON lacking (object) WHERE withheld != x'';";

// Since version 5: one row, the CatalogTotals. Older databases are counted once.
constexpr char kTotalSchema[] =
    "CREATE TABLE total (one INTEGER PRIMARY KEY CHECK (one = 1), objects INTEGER, bytes INTEGER);"
    "INSERT INTO total SELECT 1, count(*), CAST(min(total("
    "  CASE kind WHEN 1 THEN min((size + 4095) / 4096 * 4096, 1 << 46) WHEN 2 THEN 4096 ELSE 0 END"
    "  + length(link_target) + length(xattrs)), 4e18) AS INTEGER) FROM object;";
static_assert(static_cast<int>(meta::Kind::kFile) == 1 &&
              static_cast<int>(meta::Kind::kDirectory) == 2);

// A schema without these tables and columns is damaged.
constexpr Database::Table kAppliedTable = {"applied", "one*,epoch,cut,wall_time_ns"};
constexpr auto kTables = {
    kAppliedTable,
    Database::Table{"object",
                    "id*,kind,inode,permissions,uid,gid,size,device,link_count,access_s,access_ns,"
                    "modify_s,modify_ns,change_s,change_ns,link_target,xattrs,cut"},
    Database::Table{"entry", "parent*,name*,child,cut"},
};
constexpr Database::Table kLackingTable = {"lacking", "object*,xattrs,withheld"};
constexpr Database::Table kOldLackingTable = {"lacking", "object*,xattrs"};
constexpr Database::Table kTotalTable = {"total", "one*,objects,bytes"};
constexpr Database::Table kNoTotalTable = {"total", ""};
constexpr Database::Table kNoDigestTable = {BlockDigests::kTable.name, ""};
constexpr Database::Table kNoStandingTable = {StandingNames::kTable.name, ""};
constexpr Database::Table kNoLackingTable = {"lacking", ""};
constexpr Database::Table kNoShortTable = {ShortObjects::kTable.name, ""};

}  // namespace

// Newer versions leave the table `applied` as it is, which distinguishes their schema numbers from
// a damaged number.
Status PrepareCatalogSchema(Database& database) {
  ASSIGN_OR_RETURN(const int version, database.UserVersion());
  if (version > kSchemaVersion) {
    RETURN_IF_ERROR(database.CheckTables({kAppliedTable}));
    const std::string number = std::to_string(version);
    return MakeError(ErrorKind::kUsage, "open " + database.path() +
                                            " (a newer tandemd wrote it, with schema " + number +
                                            "; this one knows schemas up to " +
                                            std::to_string(kSchemaVersion) +
                                            ": use a tandemd that knows schema " + number + ")");
  }
  ASSIGN_OR_RETURN(const bool is_new, database.HasNoTables());
  if (version < 0 || (version == 0 && !is_new)) {
    return MakeError(ErrorKind::kCorrupt, "check database " + database.path() +
                                              " (the number of its schema cannot be " +
                                              std::to_string(version) + ")");
  }
  if (version > 0 && version < kSchemaVersion) {
    RETURN_IF_ERROR(database.CheckTables(kTables));
    RETURN_IF_ERROR(database.CheckTables({version == 1  ? kNoLackingTable
                                          : version < 4 ? kOldLackingTable
                                                        : kLackingTable}));
    RETURN_IF_ERROR(database.CheckTables({version < 3 ? kNoShortTable : ShortObjects::kTable}));
  }
  if (version > 0 && version < kSchemaVersion) {
    RETURN_IF_ERROR(database.CheckTables({version < 5 ? kNoTotalTable : kTotalTable}));
    RETURN_IF_ERROR(database.CheckTables(
        {version < 6 ? kNoDigestTable : BlockDigests::kTable, kNoStandingTable}));
  }
  if (version < kSchemaVersion) {
    ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(database));
    if (version < 1) RETURN_IF_ERROR(database.Execute(kSchema));
    if (version < 2) RETURN_IF_ERROR(database.Execute(kLackingSchema));
    if (version < 3) RETURN_IF_ERROR(database.Execute(ShortObjects::kSchema));
    if (version < 4) RETURN_IF_ERROR(database.Execute(kWithheldSchema));
    if (version < 5) RETURN_IF_ERROR(database.Execute(kTotalSchema));
    if (version < 6) {
      RETURN_IF_ERROR(database.Execute(BlockDigests::kSchema));
      RETURN_IF_ERROR(database.Execute(DamagedObjects::kSchema));
    }
    RETURN_IF_ERROR(database.Execute(StandingNames::kSchema));
    RETURN_IF_ERROR(database.SetUserVersion(kSchemaVersion));
    RETURN_IF_ERROR(transaction.Commit());
  }
  RETURN_IF_ERROR(database.CheckTables(kTables));
  return database.CheckTables({kLackingTable, ShortObjects::kTable, kTotalTable,
                               BlockDigests::kTable, DamagedObjects::kTable,
                               DamagedObjects::kScrubbedTable, StandingNames::kTable});
}

}  // namespace tandem::replica
