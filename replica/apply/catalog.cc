#include "replica/apply/catalog.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>

#include "replica/apply/catalog_rows.h"
#include "replica/apply/catalog_schema.h"
#include "replica/apply/tuning.h"
#include "replica/wire/messages.h"
#include "replica/wire/xattr_codec.h"

namespace tandem::replica {
namespace {

// The log is checkpointed into the database file when it has 1,000 pages. It always starts afresh
// afterwards, because no other program reads it. Pages that a savepoint overwrites are kept in
// memory, because /var/tmp may be full.
constexpr char kSettings[] = "PRAGMA wal_autocheckpoint=1000; PRAGMA temp_store=MEMORY";

void ClaimUpTo(int fd, uint64_t bytes) {
  (void)fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, static_cast<off_t>(bytes));
}

uint64_t BlocksOf(const struct stat& file) { return static_cast<uint64_t>(file.st_blocks) * 512; }

// An object counts for at most so much, so that sums stay exact.
constexpr uint64_t kMostBytesOfObject = uint64_t{1} << 46;
constexpr int64_t kMostBytes = int64_t{1} << 62;
constexpr uint64_t kBlock = 4096;
static_assert(static_cast<int>(meta::Kind::kFile) == 1 &&
              static_cast<int>(meta::Kind::kDirectory) == 2);

constexpr char kFind[] =
    "SELECT kind, inode, permissions, uid, gid, size, device, link_count, access_s, access_ns,"
    " modify_s, modify_ns, change_s, change_ns, link_target, xattrs, cut FROM object WHERE id = ?";
constexpr char kFindKind[] = "SELECT kind FROM object WHERE id = ?";
constexpr char kInodeOf[] = "SELECT inode FROM object WHERE id = ?";
constexpr char kFindInode[] = "SELECT id FROM object WHERE inode = ?";
constexpr char kObjectsAfter[] = "SELECT id, kind FROM object WHERE id > ? ORDER BY id LIMIT ?";
constexpr char kChildOf[] = "SELECT child FROM entry WHERE parent = ? AND name = ?";
constexpr char kNamesOf[] = "SELECT parent, name FROM entry WHERE child = ? LIMIT ?";
constexpr char kEntriesOf[] =
    "SELECT name, child FROM entry WHERE parent = ? AND name > ? AND name <= ? ORDER BY name"
    " LIMIT ?";
constexpr char kApplied[] = "SELECT epoch, cut, wall_time_ns FROM applied";
constexpr char kAny[] = "SELECT 1 FROM entry LIMIT 1";
constexpr char kPut[] =
    "INSERT OR REPLACE INTO object VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
constexpr char kRemove[] = "DELETE FROM object WHERE id = ?";
constexpr char kRemoveNames[] = "DELETE FROM entry WHERE parent = ?";
constexpr char kSetEntry[] = "INSERT OR REPLACE INTO entry VALUES (?, ?, ?, ?)";
constexpr char kRemoveEntry[] = "DELETE FROM entry WHERE parent = ? AND name = ?";
constexpr char kTotals[] = "SELECT objects, bytes FROM total";
constexpr char kSetTotals[] = "UPDATE total SET objects = ?, bytes = ?";
constexpr char kBytesOf[] =
    "SELECT kind, size, length(link_target) + length(xattrs) FROM object WHERE id = ?";
constexpr char kRekeyObject[] = "UPDATE object SET id = ?2, cut = ?3 WHERE id = ?1";
constexpr char kRekeyParent[] = "UPDATE entry SET parent = ?2 WHERE parent = ?1";
constexpr char kRekeyChild[] = "UPDATE entry SET child = ?2 WHERE child = ?1";
constexpr char kSetApplied[] = "UPDATE applied SET epoch = ?, cut = ?, wall_time_ns = ?";

int64_t Signed(uint64_t value) { return static_cast<int64_t>(value); }
uint64_t Unsigned(int64_t value) { return static_cast<uint64_t>(value); }

meta::Timestamp TimeAt(const Statement& row, int column) {
  return {row.Int(column), static_cast<uint32_t>(row.Int(column + 1))};
}

}  // namespace

struct Catalog::Statements {
  Statement find, find_kind, find_inode, inode_of, child_of, names_of, entries_of, applied, any;
  Statement put, remove, remove_names, set_entry, remove_entry, set_applied;
  Statement totals, set_totals, bytes_of, objects_after;
  Statement rekey_object, rekey_parent, rekey_child;
  ShortObjects short_objects;
  LackingObjects lacking;
  BlockDigests digests;
  DamagedObjects damaged;
  StandingNames standing;
};

Catalog::Catalog(Database database, std::unique_ptr<Statements> statements)
    : database_(std::move(database)), statements_(std::move(statements)) {}
Catalog::~Catalog() = default;

tl::unexpected<Error> Catalog::Damaged(const std::string& table) const {
  return MakeError(ErrorKind::kCorrupt, "read database " + database_.path() + " (table " + table +
                                            " has an impossible value)");
}

Result<std::unique_ptr<Catalog>> Catalog::Open(const std::string& path) {
  ASSIGN_OR_RETURN(Database database, Database::Open(path, Database::Sync::kFull));
  RETURN_IF_ERROR(database.Execute(kSettings));
  RETURN_IF_ERROR(database.KeepLogFile());
  RETURN_IF_ERROR(PrepareCatalogSchema(database));
  auto statements = std::make_unique<Statements>();
  const std::pair<Statement*, const char*> all[] = {
      {&statements->find, kFind},
      {&statements->find_kind, kFindKind},
      {&statements->find_inode, kFindInode},
      {&statements->inode_of, kInodeOf},
      {&statements->child_of, kChildOf},
      {&statements->names_of, kNamesOf},
      {&statements->entries_of, kEntriesOf},
      {&statements->applied, kApplied},
      {&statements->any, kAny},
      {&statements->put, kPut},
      {&statements->remove, kRemove},
      {&statements->remove_names, kRemoveNames},
      {&statements->set_entry, kSetEntry},
      {&statements->remove_entry, kRemoveEntry},
      {&statements->set_applied, kSetApplied},
      {&statements->totals, kTotals},
      {&statements->set_totals, kSetTotals},
      {&statements->bytes_of, kBytesOf},
      {&statements->objects_after, kObjectsAfter},
      {&statements->rekey_object, kRekeyObject},
      {&statements->rekey_parent, kRekeyParent},
      {&statements->rekey_child, kRekeyChild},
  };
  for (const auto& [statement, sql] : all) {
    ASSIGN_OR_RETURN(*statement, database.Prepare(sql));
  }
  ASSIGN_OR_RETURN(statements->short_objects, ShortObjects::Open(database));
  ASSIGN_OR_RETURN(statements->lacking, LackingObjects::Open(database));
  ASSIGN_OR_RETURN(statements->digests, BlockDigests::Open(database));
  ASSIGN_OR_RETURN(statements->damaged, DamagedObjects::Open(database));
  ASSIGN_OR_RETURN(statements->standing, StandingNames::Open(database));
  std::unique_ptr<Catalog> catalog(new Catalog(std::move(database), std::move(statements)));
  RETURN_IF_ERROR(catalog->Applied());
  ASSIGN_OR_RETURN(catalog->has_no_entries_, catalog->IsEmpty());
  catalog->file_.Reset(open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  return catalog;
}

ShortObjects& Catalog::short_objects() { return statements_->short_objects; }
LackingObjects& Catalog::lacking() { return statements_->lacking; }
BlockDigests& Catalog::digests() { return statements_->digests; }
DamagedObjects& Catalog::damaged() { return statements_->damaged; }
StandingNames& Catalog::standing() { return statements_->standing; }

Result<std::optional<CatalogObject>> Catalog::Find(ObjectId object) {
  Statement& row = statements_->find;
  row.Bind(1, object);
  ASSIGN_OR_RETURN(const bool found, row.Step());
  if (!found) return std::nullopt;
  CatalogObject value;
  meta::Attributes& attributes = value.attributes;
  attributes.kind = static_cast<meta::Kind>(row.Int(0));
  value.inode.digest = row.Id<ObjectId>(1);
  attributes.permissions = static_cast<uint32_t>(row.Int(2));
  attributes.uid = static_cast<uint32_t>(row.Int(3));
  attributes.gid = static_cast<uint32_t>(row.Int(4));
  attributes.size = Unsigned(row.Int(5));
  attributes.device = Unsigned(row.Int(6));
  attributes.link_count = static_cast<uint32_t>(row.Int(7));
  attributes.access_time = TimeAt(row, 8);
  attributes.modify_time = TimeAt(row, 10);
  attributes.change_time = TimeAt(row, 12);
  attributes.link_target = row.Bytes(14);
  // An impossible number becomes kNewestEpoch, so that the content is compared.
  value.changed = std::min(Epoch(Unsigned(row.Int(16))), kNewestEpoch);
  auto xattrs = UnpackXattrs(row.Bytes(15));
  const bool is_object = IsObject(row);
  row.Reset();
  if (!is_object) return Damaged("object");
  ASSIGN_OR_RETURN(attributes.xattrs, std::move(xattrs));
  return value;
}

Result<std::optional<meta::Kind>> Catalog::FindKind(ObjectId object) {
  Statement& row = statements_->find_kind;
  row.Bind(1, object);
  ASSIGN_OR_RETURN(const bool found, row.Step());
  if (!found) return std::nullopt;
  const auto kind = static_cast<meta::Kind>(row.Int(0));
  const bool is_kind = IsKindAt(row, 0);
  row.Reset();
  if (!is_kind) return Damaged("object");
  return kind;
}

Result<std::optional<InodeId>> Catalog::InodeOf(ObjectId object) {
  Statement& row = statements_->inode_of;
  row.Bind(1, object);
  ASSIGN_OR_RETURN(const bool found, row.Step());
  if (!found) return std::nullopt;
  const bool is_inode = IsIdAt(row, 0);
  const InodeId inode{row.Id<ObjectId>(0)};
  row.Reset();
  if (!is_inode) return Damaged("object");
  return inode;
}

Result<std::optional<ObjectId>> Catalog::FindInode(InodeId inode) {
  Statement& row = statements_->find_inode;
  row.Bind(1, inode.digest);
  ASSIGN_OR_RETURN(const bool found, row.Step());
  if (!found) return std::nullopt;
  const auto object = row.Id<ObjectId>(0);
  const bool is_id = IsIdAt(row, 0);
  row.Reset();
  if (!is_id) return Damaged("object");
  return object;
}

Result<ObjectId> Catalog::ChildOf(const EntryKey& key) {
  if (has_no_entries_) return ObjectId();
  Statement& row = statements_->child_of;
  row.Bind(1, key.parent).BindBlob(2, key.name);
  ASSIGN_OR_RETURN(const bool found, row.Step());
  if (!found) return ObjectId();
  const auto child = row.Id<ObjectId>(0);
  const bool is_id = IsIdAt(row, 0);
  row.Reset();
  if (!is_id) return Damaged("entry");
  return child;
}

Result<std::vector<EntryKey>> Catalog::NamesOf(ObjectId object, size_t limit) {
  if (has_no_entries_) return std::vector<EntryKey>();
  Statement& row = statements_->names_of;
  row.Bind(1, object).Bind(2, static_cast<int64_t>(limit));
  std::vector<EntryKey> names;
  while (true) {
    ASSIGN_OR_RETURN(const bool found, row.Step());
    if (!found) return names;
    if (!IsIdAt(row, 0) || !IsName(row.Bytes(1))) {
      row.Reset();
      return Damaged("entry");
    }
    names.push_back({row.Id<ObjectId>(0), std::string(row.Bytes(1))});
  }
}

Result<std::vector<CatalogEntry>> Catalog::EntriesOf(ObjectId directory, const std::string& after,
                                                     size_t limit, const std::string& up_to) {
  static const std::string after_all(kMaxNameBytes + 1, '\xff');
  if (has_no_entries_) return std::vector<CatalogEntry>();
  Statement& row = statements_->entries_of;
  row.Bind(1, directory)
      .BindBlob(2, after)
      .BindBlob(3, up_to.empty() ? after_all : up_to)
      .Bind(4, static_cast<int64_t>(limit));
  std::vector<CatalogEntry> entries;
  while (true) {
    ASSIGN_OR_RETURN(const bool found, row.Step());
    if (!found) return entries;
    if (!IsName(row.Bytes(0)) || !IsIdAt(row, 1)) {
      row.Reset();
      return Damaged("entry");
    }
    entries.push_back({std::string(row.Bytes(0)), row.Id<ObjectId>(1)});
  }
}

Result<std::vector<std::pair<ObjectId, meta::Kind>>> Catalog::ObjectsAfter(ObjectId after,
                                                                           size_t limit) {
  Statement& row = statements_->objects_after;
  row.Bind(1, after).Bind(2, static_cast<int64_t>(limit));
  std::vector<std::pair<ObjectId, meta::Kind>> objects;
  while (true) {
    ASSIGN_OR_RETURN(const bool found, row.Step());
    if (!found) return objects;
    if (!IsIdAt(row, 0) || !IsKindAt(row, 1)) {
      row.Reset();
      return Damaged("object");
    }
    objects.emplace_back(row.Id<ObjectId>(0), static_cast<meta::Kind>(row.Int(1)));
  }
}

Result<AppliedCut> Catalog::Applied() {
  Statement& row = statements_->applied;
  ASSIGN_OR_RETURN(const bool found, row.Step());
  if (!found) return MakeError(ErrorKind::kCorrupt, "read the applied cut in " + database_.path());
  const AppliedCut applied{{Epoch(Unsigned(row.Int(0))), row.Id<CutId>(1)}, row.Int(2)};
  const bool is_id = IsIdAt(row, 1);
  row.Reset();
  if (applied.name.epoch > kNewestEpoch || !is_id) return Damaged("applied");
  return applied;
}

Result<bool> Catalog::IsEmpty() {
  ASSIGN_OR_RETURN(const bool found, statements_->any.Step());
  statements_->any.Reset();
  return !found;
}

Result<CatalogTotals> Catalog::Totals() {
  Statement& row = statements_->totals;
  ASSIGN_OR_RETURN(const bool found, row.Step());
  if (!found) return Damaged("total");
  const int64_t objects = row.Int(0);
  const int64_t bytes = row.Int(1);
  row.Reset();
  if (objects < 0 || bytes < 0) return Damaged("total");
  return CatalogTotals{Unsigned(bytes), Unsigned(objects)};
}

uint64_t Catalog::BytesOf(meta::Kind kind, uint64_t size) {
  if (kind == meta::Kind::kDirectory) return kBlock;
  if (kind != meta::Kind::kFile) return 0;
  return std::min((std::min(size, kMostBytesOfObject) + kBlock - 1) / kBlock * kBlock,
                  kMostBytesOfObject);
}

Result<std::optional<Catalog::ObjectBytes>> Catalog::FindBytes(ObjectId object) {
  Statement& row = statements_->bytes_of;
  row.Bind(1, object);
  ASSIGN_OR_RETURN(const bool found, row.Step());
  if (!found) return std::nullopt;
  const ObjectBytes bytes{BytesOf(static_cast<meta::Kind>(row.Int(0)), Unsigned(row.Int(1))),
                          Unsigned(row.Int(2))};
  row.Reset();
  return bytes;
}

Result<Savepoint> Catalog::Begin() {
  ++generation_;
  if (!database_.InTransaction()) RETURN_IF_ERROR(database_.Execute("BEGIN IMMEDIATE"));
  added_bytes_ = added_objects_ = 0;
  digests().Drop();
  ASSIGN_OR_RETURN(has_no_entries_, IsEmpty());
  return Savepoint::Begin(database_);
}

void Catalog::PrepareFor(size_t objects) {
  SetCache(std::clamp(objects * kCacheBytesOfObject, cache_bytes_, kMostCacheBytes));
}

void Catalog::SetCache(uint64_t bytes) {
  if (bytes == cache_bytes_) return;
  const auto set = database_.Execute("PRAGMA cache_size=-" + std::to_string(bytes >> 10));
  if (set) cache_bytes_ = bytes;
}

Status Catalog::Keep() {
  if (!database_.InTransaction()) return {};
  auto committed = database_.Execute("COMMIT");
  if (!committed) ++generation_;
  SetCache(kCacheBytes);
  return committed;
}

void Catalog::Discard() {
  ++generation_;
  // If it fails, SQLite has already rolled back.
  if (database_.InTransaction()) (void)database_.Execute("ROLLBACK");
  SetCache(kCacheBytes);
}

void Catalog::ClaimRoom() {
  struct stat file = {};
  if (!file_.valid() || fstat(file_.get(), &file) != 0) return;
  const auto size = static_cast<uint64_t>(file.st_size);
  if (BlocksOf(file) < size + kCatalogGrowth / 2) ClaimUpTo(file_.get(), size + kCatalogGrowth);
  const UniqueFd log(
      openat(AT_FDCWD, (database_.path() + "-wal").c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  if (!log.valid() || fstat(log.get(), &file) != 0) return;
  const uint64_t wanted = kLogBytes + std::min(size, kMaxTransactionBytes);
  if (BlocksOf(file) < wanted) ClaimUpTo(log.get(), wanted + wanted / 8);
}

Status Catalog::Put(ObjectId object, const CatalogObject& value, Epoch cut) {
  ASSIGN_OR_RETURN(const auto before, FindBytes(object));
  if (!before) return Add(object, value, cut);
  return Write(object, value, *before, cut);
}

Status Catalog::Add(ObjectId object, const CatalogObject& value, Epoch cut) {
  ++added_objects_;
  return Write(object, value, {}, cut);
}

Status Catalog::Write(ObjectId object, const CatalogObject& value, const ObjectBytes& before,
                      Epoch cut) {
  const meta::Attributes& attributes = value.attributes;
  const std::string xattrs = PackXattrs(attributes.xattrs);
  added_bytes_ += Signed(BytesOf(attributes.kind, attributes.size) + attributes.link_target.size() +
                         xattrs.size()) -
                  Signed(before.content + before.beside);
  return statements_->put.Bind(1, object)
      .Bind(2, static_cast<int64_t>(attributes.kind))
      .Bind(3, value.inode.digest)
      .Bind(4, int64_t{attributes.permissions})
      .Bind(5, int64_t{attributes.uid})
      .Bind(6, int64_t{attributes.gid})
      .Bind(7, Signed(attributes.size))
      .Bind(8, Signed(attributes.device))
      .Bind(9, int64_t{attributes.link_count})
      .Bind(10, attributes.access_time.seconds)
      .Bind(11, int64_t{attributes.access_time.nanoseconds})
      .Bind(12, attributes.modify_time.seconds)
      .Bind(13, int64_t{attributes.modify_time.nanoseconds})
      .Bind(14, attributes.change_time.seconds)
      .Bind(15, int64_t{attributes.change_time.nanoseconds})
      .BindBlob(16, attributes.link_target)
      .BindBlob(17, xattrs)
      .Bind(18, Signed(cut.number()))
      .Run();
}

Status Catalog::Remove(ObjectId object) {
  ASSIGN_OR_RETURN(const auto before, FindBytes(object));
  if (before) {
    added_objects_ -= 1;
    added_bytes_ -= Signed(before->content + before->beside);
  }
  RETURN_IF_ERROR(statements_->remove.Bind(1, object).Run());
  RETURN_IF_ERROR(lacking().Note(object, {}, {}));
  RETURN_IF_ERROR(short_objects().Clear(object));
  RETURN_IF_ERROR(digests().Clear(object));
  RETURN_IF_ERROR(damaged().Clear(object));
  return RemoveNamesIn(object);
}

Status Catalog::Rekey(ObjectId before, ObjectId after, Epoch cut) {
  Statements& all = *statements_;
  RETURN_IF_ERROR(
      all.rekey_object.Bind(1, before).Bind(2, after).Bind(3, Signed(cut.number())).Run());
  RETURN_IF_ERROR(all.rekey_parent.Bind(1, before).Bind(2, after).Run());
  RETURN_IF_ERROR(all.digests.Rekey(before, after));
  RETURN_IF_ERROR(all.damaged.Clear(before));
  return all.rekey_child.Bind(1, before).Bind(2, after).Run();
}

Status Catalog::RemoveNamesIn(ObjectId directory) {
  return statements_->remove_names.Bind(1, directory).Run();
}

Status Catalog::Forget(std::deque<ObjectId> objects, const std::function<bool(ObjectId)>& is_kept) {
  while (!objects.empty()) {
    const ObjectId object = objects.front();
    objects.pop_front();
    if (is_kept(object)) continue;
    ASSIGN_OR_RETURN(const auto entries, EntriesOf(object));
    for (const CatalogEntry& entry : entries) objects.push_back(entry.child);
    ASSIGN_OR_RETURN(const auto names, NamesOf(object));
    for (const EntryKey& name : names) RETURN_IF_ERROR(RemoveEntry(name));
    RETURN_IF_ERROR(Remove(object));
  }
  return {};
}

Status Catalog::SetEntry(const EntryKey& key, ObjectId child, Epoch cut) {
  has_no_entries_ = false;
  return statements_->set_entry.Bind(1, key.parent)
      .BindBlob(2, key.name)
      .Bind(3, child)
      .Bind(4, Signed(cut.number()))
      .Run();
}

Status Catalog::RemoveEntry(const EntryKey& key) {
  return statements_->remove_entry.Bind(1, key.parent).BindBlob(2, key.name).Run();
}

Status Catalog::SetApplied(const AppliedCut& cut) {
  ASSIGN_OR_RETURN(const CatalogTotals before, Totals());
  const auto sum = [](uint64_t all, int64_t added) {
    return std::clamp(Signed(all) + added, int64_t{0}, kMostBytes);
  };
  RETURN_IF_ERROR(statements_->set_totals.Bind(1, sum(before.objects, added_objects_))
                      .Bind(2, sum(before.bytes, added_bytes_))
                      .Run());
  added_bytes_ = added_objects_ = 0;
  return statements_->set_applied.Bind(1, Signed(cut.name.epoch.number()))
      .Bind(2, cut.name.id)
      .Bind(3, cut.wall_time_ns)
      .Run();
}

}  // namespace tandem::replica
