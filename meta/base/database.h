// SQLite, wrapped: the only place that includes sqlite3.h. Codes of SQLite become Error here and
// never leave. A Database and everything made from it belong to one thread at a time; give each
// thread its own Database. Statements and transactions must end before their Database.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>

#include "meta/base/ids.h"
#include "meta/base/result.h"

struct sqlite3;
struct sqlite3_stmt;

namespace tandem {

// A prepared statement. Bind all parameters (from 1), then either Run, or Step while it returns
// true and read the columns (from 0). Both reset the statement at the end.
class Statement {
 public:
  Statement() = default;
  Statement(Statement&& other) noexcept;
  Statement& operator=(Statement&& other) noexcept;
  ~Statement();

  Statement& Bind(int index, int64_t value);
  Statement& BindBlob(int index, std::string_view bytes);
  Statement& BindText(int index, std::string_view text);
  Statement& BindNull(int index);
  template <typename Tag>
  Statement& Bind(int index, const Id128<Tag>& id) {
    const auto bytes = id.ToBytes();
    return BindBlob(index, {bytes.data(), bytes.size()});
  }

  Status Run();
  Result<bool> Step();
  void Reset();

  int64_t Int(int column) const;
  // Valid until the next Step or Reset. Blobs and texts alike.
  std::string_view Bytes(int column) const;
  bool IsNull(int column) const;
  template <typename IdType>
  IdType Id(int column) const {
    return IdType::FromBytes(Bytes(column)).value_or(IdType());
  }

 private:
  friend class Database;
  explicit Statement(sqlite3_stmt* handle) : handle_(handle) {}
  tl::unexpected<Error> Failure() const;

  sqlite3_stmt* handle_ = nullptr;
};

class Database {
 public:
  enum class Sync {
    kOff,     // survives kill -9, not a power cut
    kNormal,  // a power cut leaves a consistent, perhaps older, state
    kFull,    // a committed transaction survives a power cut
  };

  // Opens or creates `path` in WAL mode without automatic checkpoints, for its owner only. A file
  // that is no database, or fails its quick check, gives ErrorKind::kCorrupt.
  static Result<Database> Open(const std::string& path, Sync sync);

  Database(Database&& other) noexcept;
  Database& operator=(Database&& other) noexcept;
  ~Database();

  // One or more statements without parameters or results.
  Status Execute(const std::string& sql);
  // kCorrupt if the schema does not have what the statement names.
  Result<Statement> Prepare(std::string_view sql);
  // Only between transactions.
  Status SetSync(Sync sync);
  enum class CheckpointMode {
    kPassive,  // as far as that goes without holding up anybody; the log may still grow
    kRestart,  // holds up writers until all is moved: the next one begins the log afresh
  };
  // Moves what the write-ahead log holds into the database file. Returns the log's length in pages.
  Result<int> Checkpoint(CheckpointMode mode);
  // The log's file stays, with its blocks, when the database is closed.
  Status KeepLogFile();
  // PRAGMA user_version: the schema's number; 0 in a new database.
  Result<int> UserVersion();
  // Whether there is no table yet.
  Result<bool> HasNoTables();
  struct Table {
    const char* name;
    // Their names in order, separated by commas, those of the primary key with a star:
    // "parent*,name*,child". Empty: the table is not there.
    const char* columns;
  };
  // kCorrupt unless each of these tables is what is said of it.
  Status CheckTables(std::initializer_list<Table> tables);
  Status SetUserVersion(int version);
  // SQLite ends a transaction by itself, rolled back, on some errors (a full disk, EIO).
  bool InTransaction() const;
  int64_t RowsChanged() const;
  const std::string& path() const { return path_; }

 private:
  Database(sqlite3* handle, std::string path) : handle_(handle), path_(std::move(path)) {}
  tl::unexpected<Error> Failure(const std::string& what) const;

  friend class Transaction;

  sqlite3* handle_ = nullptr;
  std::string path_;
  Statement begin_;
  Statement commit_;
};

// Part of a transaction that is open already: undone unless Release was called and succeeded.
class Savepoint {
 public:
  static Result<Savepoint> Begin(Database& database);
  Savepoint(Savepoint&& other) noexcept : database_(std::exchange(other.database_, nullptr)) {}
  Savepoint& operator=(Savepoint&&) = delete;
  ~Savepoint();
  Status Release();

 private:
  explicit Savepoint(Database& database) : database_(&database) {}
  Database* database_;
};

// BEGIN IMMEDIATE … COMMIT; rolled back unless Commit was called and succeeded.
class Transaction {
 public:
  static Result<Transaction> Begin(Database& database);
  Transaction(Transaction&& other) noexcept : database_(std::exchange(other.database_, nullptr)) {}
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction();
  Status Commit();

 private:
  explicit Transaction(Database& database) : database_(&database) {}
  Database* database_;
};

}  // namespace tandem
