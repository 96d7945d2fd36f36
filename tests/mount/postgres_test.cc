// PostgreSQL on the mount, busy. At any cut the replica's tree is a database that starts, is whole,
// and holds every transaction that was committed before the cut, and none without all before it.
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <sstream>
#include <thread>

#include "tests/mount_fixture.h"

namespace tandem::test {
namespace {

namespace stdfs = std::filesystem;
using std::chrono::milliseconds;

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

class PostgresOnTheMount : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped()) return;
    programs_ = PostgresPrograms();
    if (programs_.empty()) GTEST_SKIP() << "no PostgreSQL server on this machine";
    random_.seed(FreshSeed());
    ASSERT_TRUE(StartBoth());
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

  // pgbench, and beside it a ledger: each number is committed before it is noted with the time.
  void StartLoad() {
    load_ = std::make_unique<Process>(database_->AsUser(
        {"pgbench", "-n", "-c", "2", "-T", "600", "-h", database_->sockets(), "-U", "postgres"}));
    const std::string psql =
        database_->programs() + "psql -qAtX -U postgres -h " + database_->sockets();
    ledger_ = std::make_unique<Process>(Launch{
        {"bash", "-c",
         "n=0; while :; do n=$((n+1)); echo \"insert into ledger values($n) returning id;\"; done"
         " 2>/dev/null | " +
             psql + " | while read -r id; do echo \"$id $EPOCHREALTIME\"; done"}});
  }
  void StopLoad() {
    load_->Signal(SIGTERM);
    load_->Wait();
    EXPECT_EQ(Execute({"pkill", "-TERM", "-P", std::to_string(ledger_->pid())}).code, 0);
    ledger_->Wait();
  }

  // When each ledger number was noted, in nanoseconds.
  std::map<int64_t, int64_t> Noted() const {
    std::map<int64_t, int64_t> noted;
    std::istringstream lines(ledger_->out());
    int64_t id = 0, seconds = 0, micros = 0;
    char dot = 0;
    while (lines >> id >> seconds >> dot >> micros) {
      noted[id] = seconds * 1'000'000'000 + micros * 1000;
    }
    return noted;
  }

  // Copies the replica's database while the daemon stands still at a cut; returns the cut's time.
  int64_t CopyAtACut(const std::string& copy) {
    int64_t time = 0;
    EXPECT_TRUE(WaitFor([&] {
      replica_.process().Signal(SIGSTOP);
      EXPECT_TRUE(WaitFor([this] { return replica_.process().stopped(); }));
      std::ifstream file(replica_.store() + "/" + kVolume + "/applied");
      const Json marker = Json::parse(file, nullptr, /*allow_exceptions=*/false);
      if (marker.is_object() && marker["state"] == "applied") {
        time = marker["wall_time_ns"];
        EXPECT_EQ(Execute({"cp", "-a", replica_.tree() + "/database", copy}).code, 0);
      }
      replica_.process().Signal(SIGCONT);
      std::this_thread::sleep_for(milliseconds(random_() % 20));
      return time != 0;
    }));
    return time;
  }

  void ExpectWhole(const std::string& copy, int64_t cut_time) {
    stdfs::remove(copy + "/postmaster.pid");
    Postgres replica(programs_, copy, scratch_.Path("sockets-of-copy"));
    ASSERT_TRUE(replica.Start());
    const Outcome ledger = replica.Query("select count(*), coalesce(max(id), 0) from ledger");
    ASSERT_EQ(ledger.code, 0) << ledger;
    const int64_t count = std::stoll(ledger.out);
    const int64_t last = std::stoll(ledger.out.substr(ledger.out.find('|') + 1));
    EXPECT_EQ(count, last) << "a transaction is there without all before it";
    for (const auto& [id, noted] : Noted()) {
      if (noted >= cut_time) continue;
      EXPECT_LE(id, last) << "committed before the cut, and not in it";
    }
    const Outcome check = replica.Run({"pg_amcheck", "--install-missing", "-d", "postgres"});
    EXPECT_EQ(check.code, 0) << check;
    EXPECT_GE(last, last_seen_);
    last_seen_ = last;
  }

  std::mt19937_64 random_;
  std::string programs_;
  std::unique_ptr<Postgres> database_;
  std::unique_ptr<Process> load_;
  std::unique_ptr<Process> ledger_;
  int64_t last_seen_ = 0;
};

TEST_F(PostgresOnTheMount, Invariant3IsADatabaseAtEveryCut) {
  ASSERT_TRUE(mount_.Sync());
  StartLoad();
  for (int cut = 0; cut < Times(6, 100) && !HasFailure(); ++cut) {
    std::this_thread::sleep_for(milliseconds(random_() % 500));
    // Now and then the daemon dies instead, and recovers.
    if (cut % 3 == 2) {
      replica_.Kill();
      ASSERT_TRUE(replica_.Start());
    }
    const std::string copy = scratch_.Path("copy");
    const int64_t time = CopyAtACut(copy);
    ExpectWhole(copy, time);
    stdfs::remove_all(copy);
  }
  EXPECT_GT(last_seen_, 0);
  StopLoad();
  database_->Stop();
  EXPECT_TRUE(Converges());
}

}  // namespace
}  // namespace tandem::test
