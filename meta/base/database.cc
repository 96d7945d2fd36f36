#include "meta/base/database.h"

#include <fcntl.h>
#include <sqlite3.h>

#include <cerrno>

#include "meta/base/private_files.h"
#include "meta/base/unique_fd.h"

namespace tandem {
namespace {

constexpr int kBusyTimeoutMs = 10'000;
// Allows one process at a time. Its connections need no system calls to lock each other out; those
// calls would be a third of the cost of a small commit. https://sqlite.org/vfs.html
constexpr char kVfs[] = "unix-excl";

int ErrnoOf(int sqlite_code) {
  switch (sqlite_code & 0xff) {
    case SQLITE_FULL:
      return ENOSPC;
    case SQLITE_NOMEM:
      return ENOMEM;
    case SQLITE_READONLY:
      return EROFS;
    case SQLITE_PERM:
    case SQLITE_CANTOPEN:
      return EACCES;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return EBUSY;
    default:
      return EIO;
  }
}

tl::unexpected<Error> SqliteError(sqlite3* handle, const std::string& what) {
  const int code = sqlite3_extended_errcode(handle);
  const bool corrupt = (code & 0xff) == SQLITE_CORRUPT || (code & 0xff) == SQLITE_NOTADB;
  // SQLite has a code for a full disk, but reports an exceeded quota as an I/O error.
  const bool quota = (code & 0xff) == SQLITE_IOERR && sqlite3_system_errno(handle) == EDQUOT;
  return tl::unexpected<Error>(Error(corrupt ? ErrorKind::kCorrupt : ErrorKind::kDatabase,
                                     quota ? EDQUOT : ErrnoOf(code),
                                     what + " (" + sqlite3_errmsg(handle) + ")"));
}

// SQLite creates a database with the mode that the umask leaves, and the log with the mode of the
// database. This opens only a file it creates: closing an existing database would release the locks
// that SQLite holds on it.
void MakePrivate(const std::string& path) {
  const UniqueFd made(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, kPrivateFile));
  for (const char* suffix : {"", "-wal", "-shm", "-journal"}) {
    EnsureMode(path + suffix, kPrivateFile);
  }
}

const char* PragmaFor(Database::Sync sync) {
  switch (sync) {
    case Database::Sync::kOff:
      return "PRAGMA synchronous=OFF";
    case Database::Sync::kNormal:
      return "PRAGMA synchronous=NORMAL";
    case Database::Sync::kFull:
      return "PRAGMA synchronous=FULL";
  }
  return "PRAGMA synchronous=FULL";
}

}  // namespace

Result<Database> Database::Open(const std::string& path, Sync sync) {
  MakePrivate(path);
  sqlite3* handle = nullptr;
  const int code =
      sqlite3_open_v2(path.c_str(), &handle,
                      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, kVfs);
  Database database(handle, path);
  if (code != SQLITE_OK) return database.Failure("open database");
  sqlite3_extended_result_codes(handle, 1);
  sqlite3_busy_timeout(handle, kBusyTimeoutMs);
  RETURN_IF_ERROR(database.Execute("PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0"));
  RETURN_IF_ERROR(database.SetSync(sync));
  ASSIGN_OR_RETURN(Statement check, database.Prepare("PRAGMA quick_check(1)"));
  ASSIGN_OR_RETURN(const bool row, check.Step());
  if (!row || check.Bytes(0) != "ok") {
    return MakeError(
        ErrorKind::kCorrupt,
        "check database " + path + " (" + std::string(row ? check.Bytes(0) : "no answer") + ")");
  }
  check.Reset();
  ASSIGN_OR_RETURN(database.begin_, database.Prepare("BEGIN IMMEDIATE"));
  ASSIGN_OR_RETURN(database.commit_, database.Prepare("COMMIT"));
  return database;
}

Database::Database(Database&& other) noexcept
    : handle_(std::exchange(other.handle_, nullptr)),
      path_(std::move(other.path_)),
      begin_(std::move(other.begin_)),
      commit_(std::move(other.commit_)) {}

Database& Database::operator=(Database&& other) noexcept {
  std::swap(handle_, other.handle_);
  std::swap(path_, other.path_);
  std::swap(begin_, other.begin_);
  std::swap(commit_, other.commit_);
  return *this;
}

// sqlite3_close_v2 defers the close until begin_ and commit_, destroyed after this, are finalized.
Database::~Database() { sqlite3_close_v2(handle_); }

tl::unexpected<Error> Database::Failure(const std::string& what) const {
  return SqliteError(handle_, what + " " + path_);
}

Status Database::Execute(const std::string& sql) {
  if (sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) {
    return Failure("execute \"" + sql.substr(0, 60) + "\" in");
  }
  return {};
}

Result<Statement> Database::Prepare(std::string_view sql) {
  sqlite3_stmt* statement = nullptr;
  const int code = sqlite3_prepare_v3(handle_, sql.data(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
  // All SQL is written by us, so if SQLite rejects it, the file lacks a table or a column.
  if (code == SQLITE_ERROR) {
    return MakeError(ErrorKind::kCorrupt,
                     "check database " + path_ + " (" + sqlite3_errmsg(handle_) + ")");
  }
  if (code != SQLITE_OK) return Failure("prepare \"" + std::string(sql) + "\" in");
  return Statement(statement);
}

Status Database::SetSync(Sync sync) { return Execute(PragmaFor(sync)); }

Result<int> Database::Checkpoint(CheckpointMode mode) {
  int log_pages = 0;
  const int code = sqlite3_wal_checkpoint_v2(
      handle_, nullptr,
      mode == CheckpointMode::kPassive ? SQLITE_CHECKPOINT_PASSIVE : SQLITE_CHECKPOINT_RESTART,
      &log_pages, nullptr);
  // SQLITE_BUSY means that a writer or reader blocked part of it; the next call gets further.
  if (code != SQLITE_OK && (code & 0xff) != SQLITE_BUSY) return Failure("checkpoint");
  return log_pages;
}

Status Database::KeepLogFile() {
  int on = 1;
  if (sqlite3_file_control(handle_, "main", SQLITE_FCNTL_PERSIST_WAL, &on) != SQLITE_OK) {
    return Failure("keep the log of");
  }
  return {};
}

Result<int> Database::UserVersion() {
  ASSIGN_OR_RETURN(Statement statement, Prepare("PRAGMA user_version"));
  ASSIGN_OR_RETURN(const bool row, statement.Step());
  return row ? static_cast<int>(statement.Int(0)) : 0;
}

Result<bool> Database::HasNoTables() {
  ASSIGN_OR_RETURN(Statement statement, Prepare("SELECT 1 FROM sqlite_schema LIMIT 1"));
  ASSIGN_OR_RETURN(const bool any, statement.Step());
  return !any;
}

Status Database::CheckTables(std::initializer_list<Table> tables) {
  ASSIGN_OR_RETURN(Statement column,
                   Prepare("SELECT name || iif(pk > 0, '*', '') FROM pragma_table_info(?)"
                           " ORDER BY cid"));
  for (const Table& table : tables) {
    column.BindText(1, table.name);
    std::string columns;
    while (true) {
      ASSIGN_OR_RETURN(const bool more, column.Step());
      if (!more) break;
      columns.append(columns.empty() ? "" : ",").append(column.Bytes(0));
    }
    if (columns == table.columns) continue;
    const char* what = columns.empty() ? "is missing" : "does not have the columns it should";
    return MakeError(ErrorKind::kCorrupt,
                     "check database " + path_ + " (table " + table.name + " " + what + ")");
  }
  return {};
}

Status Database::SetUserVersion(int version) {
  return Execute("PRAGMA user_version=" + std::to_string(version));
}

int64_t Database::RowsChanged() const { return sqlite3_changes64(handle_); }

bool Database::InTransaction() const { return sqlite3_get_autocommit(handle_) == 0; }

Statement::Statement(Statement&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}

Statement& Statement::operator=(Statement&& other) noexcept {
  std::swap(handle_, other.handle_);
  return *this;
}

Statement::~Statement() { sqlite3_finalize(handle_); }

tl::unexpected<Error> Statement::Failure() const {
  sqlite3* database = sqlite3_db_handle(handle_);
  const char* file = sqlite3_db_filename(database, "main");
  return SqliteError(database, std::string("run \"") + sqlite3_sql(handle_) + "\" in " +
                                   (file != nullptr ? file : "database"));
}

Statement& Statement::Bind(int index, int64_t value) {
  sqlite3_bind_int64(handle_, index, value);
  return *this;
}

Statement& Statement::BindBlob(int index, std::string_view bytes) {
  // A null pointer would bind NULL; an empty blob needs a non-null one.
  sqlite3_bind_blob64(handle_, index, bytes.empty() ? "" : bytes.data(), bytes.size(),
                      SQLITE_TRANSIENT);
  return *this;
}

Statement& Statement::BindText(int index, std::string_view text) {
  sqlite3_bind_text64(handle_, index, text.empty() ? "" : text.data(), text.size(),
                      SQLITE_TRANSIENT, SQLITE_UTF8);
  return *this;
}

Statement& Statement::BindNull(int index) {
  sqlite3_bind_null(handle_, index);
  return *this;
}

Status Statement::Run() {
  ASSIGN_OR_RETURN(const bool row, Step());
  if (row) Reset();
  return {};
}

Result<bool> Statement::Step() {
  const int code = sqlite3_step(handle_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) {
    sqlite3_reset(handle_);
    return false;
  }
  auto failure = Failure();
  sqlite3_reset(handle_);
  return failure;
}

void Statement::Reset() { sqlite3_reset(handle_); }

int64_t Statement::Int(int column) const { return sqlite3_column_int64(handle_, column); }

std::string_view Statement::Bytes(int column) const {
  const auto* data = static_cast<const char*>(sqlite3_column_blob(handle_, column));
  return {data == nullptr ? "" : data, static_cast<size_t>(sqlite3_column_bytes(handle_, column))};
}

bool Statement::IsNull(int column) const {
  return sqlite3_column_type(handle_, column) == SQLITE_NULL;
}

Result<Savepoint> Savepoint::Begin(Database& database) {
  RETURN_IF_ERROR(database.Execute("SAVEPOINT part"));
  return Savepoint(database);
}

Savepoint::~Savepoint() {
  // If no transaction is open, SQLite has already rolled it all back.
  if (database_ == nullptr || !database_->InTransaction()) return;
  (void)database_->Execute("ROLLBACK TO part; RELEASE part");
}

Status Savepoint::Release() {
  RETURN_IF_ERROR(database_->Execute("RELEASE part"));
  database_ = nullptr;
  return {};
}

Result<Transaction> Transaction::Begin(Database& database) {
  RETURN_IF_ERROR(database.begin_.Run());
  return Transaction(database);
}

Transaction::~Transaction() {
  // A failed rollback means that SQLite has already rolled back.
  if (database_ != nullptr) (void)database_->Execute("ROLLBACK");
}

Status Transaction::Commit() {
  RETURN_IF_ERROR(database_->commit_.Run());
  database_ = nullptr;
  return {};
}

}  // namespace tandem
