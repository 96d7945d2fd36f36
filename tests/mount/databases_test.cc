// Databases on the mount, busy: SQLite with each of its journals, and a store made of logs and
// tables as LevelDB's. At any cut the replica's tree is a database that opens, is whole, and holds
// all that was committed before the cut, and nothing without all before it. That is asked of
// databases that never call fsync as well: the order of calls is all they need.
#include <filesystem>
#include <memory>
#include <ostream>

#include "tests/cut_copy.h"

namespace tandem::test {
namespace {

struct Journal {
  const char* mode;
  const char* synchronous;

  friend std::ostream& operator<<(std::ostream& stream, const Journal& journal) {
    return stream << journal.mode << "_" << journal.synchronous;
  }
};

class SqliteOnTheMount : public CutsUnderLoad, public ::testing::WithParamInterface<Journal> {
 protected:
  void SetUp() override {
    CutsUnderLoad::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    std::filesystem::create_directory(mount_.path() + "/database");
    const Outcome made = Execute(
        Shell({"create table ledger(id integer primary key);"
               "create table account(id integer primary key, balance integer, note blob);"
               "create table beside(id integer primary key, content blob);"
               "with recursive n(i) as (select 0 union all select i + 1 from n where i < 99)"
               " insert into account select i, 0, randomblob(500) from n;"}));
    ASSERT_EQ(made.code, 0) << made;
  }

  // With checkpoints more often than they would be.
  std::vector<std::string> Shell(std::vector<std::string> arguments = {}) const {
    const auto [mode, synchronous] = GetParam();
    const std::string pragmas = std::string("pragma journal_mode=") + mode +
                                "; pragma synchronous=" + synchronous +
                                "; pragma wal_autocheckpoint=100";
    std::vector<std::string> command = {"sqlite3", "-batch", "-bail"};
    // What pragmas print is not the ledger's.
    for (const std::string& first :
         {std::string(".timeout 60000"), std::string(".output /dev/null"), pragmas,
          std::string(".output stdout")}) {
      command.insert(command.end(), {"-cmd", first});
    }
    command.push_back(mount_.path() + "/database/data.db");
    command.insert(command.end(), arguments.begin(), arguments.end());
    return command;
  }

  // The ledger, with money moved from one account to another in the same transaction; and beside it
  // long rows that come and go.
  void StartLoad() {
    ledger_ = std::make_unique<Ledger>(
        Shell(),
        "begin immediate; insert into ledger values(?);"
        " update account set balance = balance - ? where id = ? * 31 % 100;"
        " update account set balance = balance + ?, note = randomblob(? * 7 % 1500)"
        " where id = ? * 17 % 100; commit; select ?;");
    beside_ = std::make_unique<Ledger>(
        Shell(),
        "begin immediate; insert into beside values(?, randomblob(? * 977 % 20000));"
        " delete from beside where id = ? - 20; commit; select ?;");
  }
  void StopLoad() {
    EXPECT_TRUE(ledger_->Stop());
    EXPECT_TRUE(beside_->Stop());
  }

  void ExpectADatabase(const std::string& copy, int64_t cut_time_ns) {
    const std::string questions =
        "pragma integrity_check; select sum(balance) from account;"
        " select count(*), coalesce(max(id), 0) from ledger;";
    const Outcome found = Execute({"sqlite3", "-batch", "-bail", copy + "/data.db", questions});
    ASSERT_EQ(found.code, 0) << found;
    const std::string whole = "ok\n0\n";
    ASSERT_TRUE(found.out.starts_with(whole)) << found;
    const int64_t count = std::stoll(found.out.substr(whole.size()));
    const int64_t last = std::stoll(found.out.substr(found.out.find('|') + 1));
    ExpectWhole(count, last, ledger_->noted(), cut_time_ns);
  }

  std::unique_ptr<Ledger> ledger_;
  std::unique_ptr<Ledger> beside_;
};

TEST_P(SqliteOnTheMount, Invariant3IsADatabaseAtEveryCut) {
  ASSERT_TRUE(mount_.Sync());
  StartLoad();
  ASSERT_TRUE(ledger_->Begins() && beside_->Begins());
  CheckCuts(Times(4, 100), "database", [this](const std::string& copy, int64_t cut_time_ns) {
    ExpectADatabase(copy, cut_time_ns);
  });
  EXPECT_GT(last_seen_, 0);
  StopLoad();
  EXPECT_TRUE(Converges());
}

INSTANTIATE_TEST_SUITE_P(Journal, SqliteOnTheMount,
                         ::testing::Values(Journal{"wal", "full"}, Journal{"wal", "off"},
                                           Journal{"delete", "full"}, Journal{"delete", "off"},
                                           Journal{"truncate", "off"}, Journal{"persist", "off"}),
                         ::testing::PrintToStringParamName());

class LogsOnTheMount : public CutsUnderLoad {
 protected:
  void ExpectADatabase(const std::string& copy, int64_t cut_time_ns) {
    const Outcome found = Execute({Program("tests/log_writer"), "check", copy});
    ASSERT_EQ(found.code, 0) << found;
    const int64_t last = std::stoll(found.out);
    ExpectWhole(last, last, writer_->out(), cut_time_ns);
    EXPECT_TRUE(writer_->running()) << writer_->err();
  }

  std::unique_ptr<Process> writer_;
};

TEST_F(LogsOnTheMount, Invariant3AreADatabaseAtEveryCut) {
  writer_ =
      std::make_unique<Process>(Launch{{Program("tests/log_writer"), "run",
                                        mount_.path() + "/database", std::to_string(random_())}});
  ASSERT_TRUE(WaitFor([this] { return !writer_->out().empty() || !writer_->running(); }));
  ASSERT_TRUE(mount_.Sync());
  CheckCuts(Times(4, 100), "database", [this](const std::string& copy, int64_t cut_time_ns) {
    ExpectADatabase(copy, cut_time_ns);
  });
  EXPECT_GT(last_seen_, 0);
  writer_->Signal(SIGTERM);
  EXPECT_EQ(writer_->Wait(), 0) << writer_->err();
  EXPECT_TRUE(Converges());
}

}  // namespace
}  // namespace tandem::test
