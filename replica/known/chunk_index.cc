#include "replica/known/chunk_index.h"

#include <unistd.h>

#include <utility>

namespace tandem::replica {
namespace {

constexpr int kVersion = 1;
constexpr char kSchema[] =
    "CREATE TABLE chunk (name INTEGER PRIMARY KEY, object BLOB, offset INTEGER, length INTEGER)";
constexpr Database::Table kTable = {"chunk", "name*,object,offset,length"};

// Of the names, which are random.
constexpr uint64_t kSlices = 16;
constexpr int kLogPages = 4096;

int64_t Signed(uint64_t value) { return static_cast<int64_t>(value); }

Result<Database> OpenDatabase(const std::string& path) {
  ASSIGN_OR_RETURN(Database database, Database::Open(path, Database::Sync::kOff));
  ASSIGN_OR_RETURN(const bool is_new, database.HasNoTables());
  if (is_new) {
    ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(database));
    RETURN_IF_ERROR(database.Execute(kSchema));
    RETURN_IF_ERROR(database.SetUserVersion(kVersion));
    RETURN_IF_ERROR(transaction.Commit());
  }
  ASSIGN_OR_RETURN(const int version, database.UserVersion());
  if (version != kVersion) {
    return MakeError(ErrorKind::kCorrupt, "open " + path + " (of another version)");
  }
  RETURN_IF_ERROR(database.CheckTables({kTable}));
  return database;
}

}  // namespace

Result<std::unique_ptr<ChunkIndex>> ChunkIndex::Open(const std::string& directory, uint64_t most) {
  const std::string path = directory + "/" + kFileName;
  auto database = OpenDatabase(path);
  if (!database && database.error().kind() == ErrorKind::kCorrupt) {
    for (const char* part : {"", "-wal", "-shm"}) unlink((path + part).c_str());
    database = OpenDatabase(path);
  }
  if (!database) return tl::unexpected<Error>(std::move(database.error()));
  std::unique_ptr<ChunkIndex> index(new ChunkIndex(std::move(*database), most));
  RETURN_IF_ERROR(index->Prepare());
  return index;
}

Status ChunkIndex::Prepare() {
  MutexLock lock(mutex_);
  ASSIGN_OR_RETURN(put_, database_.Prepare("INSERT OR REPLACE INTO chunk VALUES (?, ?, ?, ?)"));
  ASSIGN_OR_RETURN(find_,
                   database_.Prepare("SELECT object, offset, length FROM chunk WHERE name = ?"));
  ASSIGN_OR_RETURN(forget_, database_.Prepare("DELETE FROM chunk WHERE name = ?"));
  ASSIGN_OR_RETURN(forget_slice_,
                   database_.Prepare("DELETE FROM chunk WHERE name BETWEEN ? AND ?"));
  ASSIGN_OR_RETURN(count_, CountRows());
  return {};
}

Result<uint64_t> ChunkIndex::CountRows() {
  ASSIGN_OR_RETURN(Statement count, database_.Prepare("SELECT count(*) FROM chunk"));
  ASSIGN_OR_RETURN(const bool found, count.Step());
  return found ? static_cast<uint64_t>(count.Int(0)) : 0;
}

Result<uint64_t> ChunkIndex::Count() {
  MutexLock lock(mutex_);
  return CountRows();
}

Status ChunkIndex::Put(std::span<const Row> rows) {
  MutexLock lock(mutex_);
  ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(database_));
  for (const Row& row : rows) {
    RETURN_IF_ERROR(put_.Bind(1, Signed(row.name))
                        .Bind(2, row.object)
                        .Bind(3, Signed(row.offset))
                        .Bind(4, Signed(row.length))
                        .Run());
  }
  count_ += rows.size();
  RETURN_IF_ERROR(MakeRoom());
  RETURN_IF_ERROR(transaction.Commit());
  ASSIGN_OR_RETURN(const int pages, database_.Checkpoint(Database::CheckpointMode::kPassive));
  if (pages > kLogPages) {
    ASSIGN_OR_RETURN([[maybe_unused]] const int left,
                     database_.Checkpoint(Database::CheckpointMode::kRestart));
  }
  return {};
}

// Names are spread evenly, so that a slice of all possible ones has as large a part of the rows.
Status ChunkIndex::MakeRoom() {
  if (count_ <= most_) return {};
  ASSIGN_OR_RETURN(count_, CountRows());  // some replaced others
  // So many that they are not counted again soon.
  for (uint64_t slices = 0; count_ > most_ - most_ / 8 && slices < kSlices; ++slices) {
    constexpr uint64_t kWidth = ~uint64_t{0} / kSlices + 1;
    const uint64_t first = slice_ * kWidth;
    slice_ = (slice_ + 1) % kSlices;
    RETURN_IF_ERROR(forget_slice_.Bind(1, Signed(first)).Bind(2, Signed(first + kWidth - 1)).Run());
    count_ -= static_cast<uint64_t>(database_.RowsChanged());
  }
  return {};
}

Result<std::optional<ChunkIndex::Row>> ChunkIndex::Find(uint64_t name) {
  MutexLock lock(mutex_);
  ASSIGN_OR_RETURN(const bool found, find_.Bind(1, Signed(name)).Step());
  if (!found) return std::nullopt;
  Row row;
  row.name = name;
  row.object = find_.Id<ObjectId>(0);
  row.offset = static_cast<uint64_t>(find_.Int(1));
  row.length = static_cast<uint64_t>(find_.Int(2));
  find_.Reset();
  return row;
}

Status ChunkIndex::Forget(uint64_t name) {
  MutexLock lock(mutex_);
  return forget_.Bind(1, Signed(name)).Run();
}

}  // namespace tandem::replica
