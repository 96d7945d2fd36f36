// PostgreSQL on the mount, busy. At any cut the replica's tree is a database that starts, is whole,
// and holds every transaction that was committed before the cut, and none without all before it.
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <memory>

#include "tests/cut_copy.h"

namespace tandem::test {
namespace {

namespace stdfs = std::filesystem;

// Debian's, of whatever version; empty: there is none.
std::string PostgresPrograms() {
  const stdfs::path base = "/usr/lib/postgresql";
  if (!stdfs::exists(base)) return {};
  for (const auto& version : stdfs::directory_iterator(base)) {
    if (stdfs::exists(version.path() / "bin/postgres")) return (version.path() / "bin/").string();
  }
  return {};
}

// A server, and programs that talk to it. It may not be root's.
class Postgres {
 public:
  Postgres(std::string programs, std::string data, std::string sockets)
      : programs_(std::move(programs)), data_(std::move(data)), sockets_(std::move(sockets)) {
    user_ = getpwnam("postgres")->pw_uid;
    stdfs::create_directories(sockets_);
    EXPECT_EQ(chown(sockets_.c_str(), user_, getpwnam("postgres")->pw_gid), 0);
  }
  ~Postgres() {
    if (server_ != nullptr) Stop();
  }

  Launch AsUser(std::vector<std::string> command) const {
    command[0] = programs_ + command[0];
    command.insert(command.begin(),
                   {"setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"});
    return Launch{std::move(command)};
  }

  ::testing::AssertionResult Create() {
    const Outcome outcome =
        Execute(AsUser({"initdb", "-D", data_, "-A", "trust", "-U", "postgres"}));
    if (outcome.code != 0) return ::testing::AssertionFailure() << "initdb: " << outcome;
    return ::testing::AssertionSuccess();
  }

  ::testing::AssertionResult Start() {
    server_ = std::make_unique<Process>(AsUser({"postgres", "-D", data_, "-k", sockets_, "-c",
                                                "listen_addresses=", "-c", "shared_buffers=32MB"}));
    const bool answers = WaitFor([this] {
      return !server_->running() || Execute(AsUser({"pg_isready", "-q", "-h", sockets_})).code == 0;
    });
    if (answers && server_->running()) return ::testing::AssertionSuccess();
    return ::testing::AssertionFailure() << "postgres does not start\n" << server_->err();
  }

  void Stop() {
    server_->Signal(SIGINT);  // fast shutdown
    EXPECT_EQ(server_->Wait(), 0) << server_->err();
    server_.reset();
  }

  Outcome Query(const std::string& sql) const {
    return Execute(AsUser({"psql", "-qAtX", "-h", sockets_, "-U", "postgres", "-c", sql}));
  }
  Outcome Run(std::vector<std::string> command) const {
    command.insert(command.end(), {"-h", sockets_, "-U", "postgres"});
    return Execute(AsUser(std::move(command)));
  }

  const std::string& sockets() const { return sockets_; }
  const std::string& programs() const { return programs_; }

 private:
  const std::string programs_;
  const std::string data_;
  const std::string sockets_;
  uid_t user_ = 0;
  std::unique_ptr<Process> server_;
};

class PostgresOnTheMount : public CutsUnderLoad {
 protected:
  void SetUp() override {
    const std::string programs = PostgresPrograms();
    if (programs.empty()) GTEST_SKIP() << "no PostgreSQL server on this machine";
    CutsUnderLoad::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    programs_ = programs;
    const std::string data = mount_.path() + "/database";
    ASSERT_EQ(mkdir(data.c_str(), 0700), 0);
    const passwd* user = getpwnam("postgres");
    ASSERT_EQ(chown(data.c_str(), user->pw_uid, user->pw_gid), 0);
    database_ = std::make_unique<Postgres>(programs_, data, scratch_.Path("sockets"));
    ASSERT_TRUE(database_->Create());
    ASSERT_TRUE(database_->Start());
    ASSERT_EQ(database_->Query("create table ledger(id bigint primary key)").code, 0);
    const Outcome made = database_->Run({"pgbench", "-i", "-q", "-s", "2"});
    ASSERT_EQ(made.code, 0) << made;
  }

  // pgbench, and beside it a ledger.
  void StartLoad() {
    load_ = std::make_unique<Process>(database_->AsUser(
        {"pgbench", "-n", "-c", "2", "-T", "600", "-h", database_->sockets(), "-U", "postgres"}));
    ledger_ =
        std::make_unique<Ledger>(std::vector<std::string>{programs_ + "psql", "-qAtX", "-U",
                                                          "postgres", "-h", database_->sockets()},
                                 "insert into ledger values(?) returning id;");
  }
  void StopLoad() {
    load_->Signal(SIGTERM);
    load_->Wait();
    EXPECT_TRUE(ledger_->Stop());
  }

  void ExpectADatabase(const std::string& copy, int64_t cut_time_ns) {
    stdfs::remove(copy + "/postmaster.pid");
    Postgres replica(programs_, copy, scratch_.Path("sockets-of-copy"));
    ASSERT_TRUE(replica.Start());
    const Outcome ledger = replica.Query("select count(*), coalesce(max(id), 0) from ledger");
    ASSERT_EQ(ledger.code, 0) << ledger;
    const int64_t count = std::stoll(ledger.out);
    const int64_t last = std::stoll(ledger.out.substr(ledger.out.find('|') + 1));
    ExpectWhole(count, last, ledger_->noted(), cut_time_ns);
    const Outcome check = replica.Run({"pg_amcheck", "--install-missing", "-d", "postgres"});
    EXPECT_EQ(check.code, 0) << check;
  }

  std::string programs_;
  std::unique_ptr<Postgres> database_;
  std::unique_ptr<Process> load_;
  std::unique_ptr<Ledger> ledger_;
};

TEST_F(PostgresOnTheMount, Invariant3IsADatabaseAtEveryCut) {
  ASSERT_TRUE(mount_.Sync());
  StartLoad();
  ASSERT_TRUE(ledger_->Begins());
  CheckCuts(Times(6, 100), "database", [this](const std::string& copy, int64_t cut_time_ns) {
    ExpectADatabase(copy, cut_time_ns);
  });
  EXPECT_GT(last_seen_, 0);
  StopLoad();
  database_->Stop();
  EXPECT_TRUE(Converges());
}

}  // namespace
}  // namespace tandem::test
