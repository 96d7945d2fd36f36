// A wrapper around SQLite. Only database.cc includes sqlite3.h, and it turns every SQLite code into
// an Error. A Database and everything made from it belong to one thread at a time; give each thread
// its own Database. Statements and transactions must end before their Database.
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

// A prepared statement. Bind all parameters (numbered from 1). Then call Run, or call Step while it
// returns true and read the columns (numbered from 0). Both reset the statement at the end.
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
  // Returns a blob or a text. Valid until the next Step or Reset.
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

  // Opens or creates `path` in WAL mode without automatic checkpoints. Only its owner may read it.
  // Returns kCorrupt if the file is not a database or fails SQLite's quick check.
  static Result<Database> Open(const std::string& path, Sync sync);

  Database(Database&& other) noexcept;
  Database& operator=(Database&& other) noexcept;
  ~Database();

  // Runs one or more statements that have no parameters and return no rows.
  Status Execute(const std::string& sql);
  // Returns kCorrupt if the schema lacks a table or column that the statement names.
  Result<Statement> Prepare(std::string_view sql);
  // Requires that no transaction is open.
  Status SetSync(Sync sync);
  enum class CheckpointMode {
    kPassive,  // moves as much as it can without blocking anyone else; the log may still grow
    kRestart,  // blocks writers until everything is moved; the next writer restarts the log
  };
  // Moves pages of the write-ahead log into the database file. Returns the log's length in pages.
  Result<int> Checkpoint(CheckpointMode mode);
  // Keeps the log file, and the blocks allocated to it, when the database is closed.
  Status KeepLogFile();
  // Returns PRAGMA user_version, the schema's number: 0 in a new database.
  Result<int> UserVersion();
  // Returns whether the database has no tables.
  Result<bool> HasNoTables();
  struct Table {
    const char* name;
    // The names of the columns in order, separated by commas. Columns of the primary key have a
    // star: "parent*,name*,child". Empty if the table must not exist.
    const char* columns;
  };
  // Returns kCorrupt unless each of these tables has exactly the given columns.
  Status CheckTables(std::initializer_list<Table> tables);
  Status SetUserVersion(int version);
  // Returns whether a transaction is open. On some errors (a full disk, EIO) SQLite rolls the
  // transaction back and ends it.
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

// A nested part of an open transaction. The destructor rolls it back unless Release has succeeded.
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

// BEGIN IMMEDIATE … COMMIT. The destructor rolls back unless Commit has succeeded.
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
