// Programs people use, on the mount: what they leave behind is whole on the replica.
#include <gmock/gmock.h>
#include <signal.h>

#include <filesystem>
#include <fstream>

#include "tests/files.h"
#include "tests/mount_fixture.h"

namespace tandem::test {
namespace {

namespace stdfs = std::filesystem;

class RealPrograms : public MountTest {
 protected:
  // git trusts no repository of another user; this one is read only.
  static Outcome Git(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "git");
    return Execute({arguments,
                    {{"GIT_CONFIG_COUNT", "1"},
                     {"GIT_CONFIG_KEY_0", "safe.directory"},
                     {"GIT_CONFIG_VALUE_0", "*"},
                     {"HOME", "/nonexistent"}}});
  }
  Outcome Sqlite(const std::string& database, const std::string& sql) {
    return Execute({"sqlite3", "-bail", database, sql});
  }
  std::string clone() const { return mount_.path() + "/clone"; }
  void CloneThisProject() {
    const Outcome cloned = Git({"clone", "-q", "--no-hardlinks", TANDEM_SOURCE_DIR, clone()});
    ASSERT_EQ(cloned.code, 0) << cloned;
  }
};

TEST_F(RealPrograms, GitClonesChecksOutAndFindsItsObjectsWhole) {
  ASSERT_TRUE(StartBoth());
  CloneThisProject();
  const Outcome first = Git({"-C", clone(), "rev-list", "--max-parents=0", "HEAD"});
  ASSERT_EQ(first.code, 0) << first;
  const std::string commit = first.out.substr(0, first.out.find('\n'));
  EXPECT_EQ(Git({"-C", clone(), "fsck", "--full", "--strict"}).code, 0);
  EXPECT_EQ(Git({"-C", clone(), "checkout", "-q", "-b", "first", commit}).code, 0);
  EXPECT_EQ(Git({"-C", clone(), "repack", "-q", "-a", "-d"}).code, 0);
  ASSERT_TRUE(Converges());

  const std::string copy = replica_.tree() + "/clone";
  const Outcome checked = Git({"-C", copy, "fsck", "--full", "--strict"});
  EXPECT_EQ(checked.code, 0) << checked;
  EXPECT_EQ(Git({"-C", copy, "rev-parse", "HEAD"}).out, commit + "\n");
}

TEST_F(RealPrograms, ThisProjectConfiguresAndCompilesOnTheMount) {
  ASSERT_TRUE(StartBoth());
  CloneThisProject();
  const std::string build = mount_.path() + "/build";
  const Outcome configured =
      Execute({"cmake", "-G", "Ninja", "-S", clone(), "-B", build, "-DCMAKE_BUILD_TYPE=Debug",
               "-DTANDEM_DEPS_DIR=" + std::string(TANDEM_SOURCE_DIR) + "/build/deps"});
  ASSERT_EQ(configured.code, 0) << configured;
  const Outcome built = Execute(
      {"ninja", "-C", build, "-j", "2", LongTests() ? "all" : "test_program_compare_trees"});
  ASSERT_EQ(built.code, 0) << built;
  ASSERT_TRUE(Converges());
  const std::string copy = replica_.tree() + "/build/bin/tests/compare_trees";
  EXPECT_EQ(Execute({copy, source_, replica_.tree()}).code, 0);
}

constexpr char kFill[] =
    "CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY, a TEXT, b BLOB);"
    "CREATE INDEX IF NOT EXISTS t_a ON t(a);"
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)"
    " INSERT INTO t(a, b) SELECT hex(randomblob(8)), randomblob(200) FROM n;"
    "UPDATE t SET b = randomblob(300) WHERE id % 7 = 0;"
    "DELETE FROM t WHERE id % 5 = 0;";

class SqliteJournal : public RealPrograms, public ::testing::WithParamInterface<const char*> {};

TEST_P(SqliteJournal, DatabasesAreWholeOnTheReplica) {
  ASSERT_TRUE(StartBoth());
  const std::string database = mount_.path() + "/data.db";
  const std::string journal = std::string("PRAGMA journal_mode=") + GetParam() + ";";
  for (int round = 0; round < 5; ++round) {
    const Outcome filled = Sqlite(database, journal + kFill);
    ASSERT_EQ(filled.code, 0) << filled;
  }
  EXPECT_EQ(Sqlite(database, "PRAGMA integrity_check").out, "ok\n");
  ASSERT_TRUE(Converges());
  const std::string copy = replica_.tree() + "/data.db";
  EXPECT_EQ(Sqlite(copy, "PRAGMA integrity_check").out, "ok\n");
  EXPECT_EQ(Sqlite(copy, "SELECT count(*), sum(length(b)), group_concat(a) FROM t").out,
            Sqlite(database, "SELECT count(*), sum(length(b)), group_concat(a) FROM t").out);
}

// The log or journal that it leaves is as much the database as the rest.
TEST_P(SqliteJournal, AWriterKilledInTheMiddleLeavesARecoverableDatabaseOnTheReplica) {
  ASSERT_TRUE(StartBoth());
  const std::string database = mount_.path() + "/data.db";
  ASSERT_EQ(Sqlite(database, std::string("PRAGMA journal_mode=") + GetParam() + ";" + kFill).code,
            0);
  std::string endless;
  for (int i = 0; i < 2000; ++i) endless += kFill;
  Write(scratch_.Path("endless.sql"), endless);
  Process writer({{"sqlite3", database, ".read " + scratch_.Path("endless.sql")}});
  const uintmax_t before = stdfs::file_size(database);
  EXPECT_TRUE(WaitFor([&] { return stdfs::file_size(database) > before || !writer.running(); }));
  writer.Signal(SIGKILL);
  ASSERT_EQ(writer.Wait(), 128 + SIGKILL) << writer.err();
  ASSERT_TRUE(Converges());
  stdfs::copy(replica_.tree(), scratch_.Path("restored"), stdfs::copy_options::recursive);
  EXPECT_EQ(Sqlite(scratch_.Path("restored/data.db"), "PRAGMA integrity_check").out, "ok\n");
  const std::string sum = "SELECT count(*), sum(length(b)) FROM t";
  EXPECT_EQ(Sqlite(scratch_.Path("restored/data.db"), sum).out, Sqlite(database, sum).out);
}

INSTANTIATE_TEST_SUITE_P(Kind, SqliteJournal, ::testing::Values("wal", "delete", "truncate"),
                         [](const auto& one) { return std::string(one.param); });

}  // namespace
}  // namespace tandem::test
