// Who gets at what the daemons keep, whatever the umask.
#include "meta/base/private_files.h"

#include <grp.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "meta/base/database.h"
#include "meta/base/log.h"
#include "tests/files.h"
#include "tests/unit/replica_client.h"
#include "tools/control.h"
#include "tools/state_directory.h"

namespace tandem {
namespace {

namespace stdfs = std::filesystem;

using replica::ReplicaClient;
using replica::ScratchDirectory;
using replica::Store;

class PrivateFiles : public testing::Test {
 protected:
  PrivateFiles() { umask(0); }
  ~PrivateFiles() override { umask(before_); }

  std::string At(const std::string& name) const { return scratch_.path() + "/" + name; }
  mode_t ModeOf(const std::string& name) const {
    return test::Lstat(At(name)).st_mode & mode_t{07777};
  }
  // Below `name`, what is not a link; "" if all is closed.
  std::string OpenToOthers(const std::string& name) const {
    std::string open;
    for (const auto& file : stdfs::recursive_directory_iterator(At(name))) {
      const struct stat found = test::Lstat(file.path());
      if (!S_ISLNK(found.st_mode) && (found.st_mode & 077) != 0) open += file.path().string() + " ";
    }
    return open;
  }
  void Open(const std::string& name, mode_t mode) const {
    ASSERT_EQ(0, chmod(At(name).c_str(), mode));
  }

  const ScratchDirectory scratch_;

 private:
  const mode_t before_ = umask(0);
};

// A store with one file in its tree, whose root is 0755.
void Seed(Store& store) {
  ReplicaClient client(store);
  ASSERT_EQ(client.Greet().code, replica::ReplyCode::kOk);
  meta::Attributes root;
  root.kind = meta::Kind::kDirectory;
  root.permissions = 0755;
  root.uid = geteuid();
  root.gid = getegid();
  meta::Attributes file = root;
  file.kind = meta::Kind::kFile;
  file.permissions = 0644;
  const replica::Reply reply =
      client.Ship({replica::ObjectRecord{kRootObject, true, true, root},
                   replica::ObjectRecord{ObjectId(3, 3), true, true, file},
                   replica::EntryRecord{kRootObject, "file", ObjectId(3, 3)}});
  ASSERT_EQ(reply.code, replica::ReplyCode::kOk) << reply.message;
}

TEST_F(PrivateFiles, AStoreIsItsOwnersOnly) {
  auto store = Store::Open(At("store")).value();
  ASSERT_NO_FATAL_FAILURE(Seed(*store));
  EXPECT_EQ(ModeOf("store"), 0700u);
  EXPECT_EQ(ModeOf("store/vol"), 0700u);
  EXPECT_EQ(ModeOf("store/vol/tree"), 0755u) << "the source's own";
  for (const char* file : {"volume", "replica.db", "replica.db-wal", "replica.db-shm"}) {
    if (stdfs::exists(At("store/vol/") + file)) {
      EXPECT_EQ(ModeOf(std::string("store/vol/") + file), 0600u);
    }
  }
  EXPECT_EQ(ModeOf("store/vol/stage"), 0700u);
  EXPECT_EQ(OpenToOthers("store/vol/stage"), "");
}

TEST_F(PrivateFiles, AnOpenedStoreShowsTheTreeAndTheMarkerOnly) {
  auto store = Store::Open(At("store"), 0755).value();
  ASSERT_NO_FATAL_FAILURE(Seed(*store));
  EXPECT_EQ(ModeOf("store"), 0755u);
  EXPECT_EQ(ModeOf("store/vol"), 0755u);
  for (const auto& file : stdfs::directory_iterator(At("store/vol"))) {
    const std::string name = file.path().filename();
    const bool shown = name == "tree" || name == "applied";
    EXPECT_EQ((ModeOf("store/vol/" + name) & 077) != 0, shown) << name;
  }
}

TEST_F(PrivateFiles, AnOlderStoreIsClosed) {
  ASSERT_NO_FATAL_FAILURE(Seed(*Store::Open(At("store")).value()));
  for (const char* name : {"", "/vol", "/vol/stage"}) Open(std::string("store") + name, 0755);
  Open("store/vol/replica.db", 0644);
  Open("store/vol/volume", 0644);
  test::Write(At("store/vol/replica.db.damaged-1"), "");
  auto store = Store::Open(At("store")).value();
  EXPECT_EQ(ModeOf("store"), 0700u);
  EXPECT_EQ(ModeOf("store/vol"), 0700u);
  EXPECT_EQ(ModeOf("store/vol/stage"), 0700u);
  for (const char* name : {"replica.db", "replica.db.damaged-1", "volume"}) {
    EXPECT_EQ(ModeOf(std::string("store/vol/") + name), 0600u) << name;
  }
  store.reset();
  store = Store::Open(At("store"), 0750).value();
  EXPECT_EQ(ModeOf("store"), 0750u) << "the option opens it again";
  EXPECT_EQ(ModeOf("store/vol"), 0750u);
  EXPECT_EQ(ModeOf("store/vol/replica.db"), 0600u);
}

TEST_F(PrivateFiles, ADirectoryThatIsNotOursAloneStaysOpen) {
  ASSERT_TRUE(stdfs::create_directories(At("shared/of others")));
  auto store = Store::Open(At("shared")).value();
  ASSERT_NO_FATAL_FAILURE(Seed(*store));
  EXPECT_EQ(ModeOf("shared"), 0777u);
  EXPECT_EQ(ModeOf("shared/of others"), 0777u);
  EXPECT_EQ(ModeOf("shared/vol"), 0700u);
}

TEST_F(PrivateFiles, ADatabaseAndItsLogAreTheirOwnersOnly) {
  auto database = Database::Open(At("a.db"), Database::Sync::kOff).value();
  ASSERT_TRUE(database.Execute("CREATE TABLE t(a)"));
  EXPECT_EQ(OpenToOthers(""), "");
  EXPECT_TRUE(stdfs::exists(At("a.db-wal")));
}

TEST_F(PrivateFiles, AStateDirectoryIsItsOwnersOnly) {
  {
    auto state = tools::StateDirectory::Open(At("a/state"), "vol", {}).value();
    auto database = state.OpenDatabase().value();
    EXPECT_EQ(OpenToOthers(""), "");
  }
  for (const char* name : {"state.db", "volume.json", "lock"}) {
    Open(std::string("a/state/") + name, 0644);
  }
  Open("a/state", 0755);
  test::Write(At("a/state/tandemfs.1.log"), "");
  auto state = tools::StateDirectory::Open(At("a/state"), "vol", {}).value();
  EXPECT_EQ(OpenToOthers("a"), "");
}

TEST_F(PrivateFiles, ALogIsItsOwnersOnly) {
  umask(077);  // as tandemfs
  test::Write(At("x.log"), "older\n");
  test::Write(At("x.1.log"), "older still\n");
  Open("x.log", 0644);
  Open("x.1.log", 0644);
  ASSERT_TRUE(LogToFile("x", At("x.log")));
  LogWarning("a line");
  SetUpLog("tests");
  EXPECT_EQ(OpenToOthers(""), "");
}

TEST_F(PrivateFiles, SymbolicLinksAreLeftAlone) {
  test::Write(At("file"), "");
  Open("file", 0644);
  ASSERT_EQ(0, symlink("file", At("link").c_str()));
  EnsureMode(At("link"), kPrivateFile);
  EXPECT_EQ(ModeOf("file"), 0644u);
}

// ---- The directory of the control sockets, of a user without XDG_RUNTIME_DIR ------------------

// Another one in each test: several run at once.
const uid_t kAlice = 100'000 + static_cast<uid_t>(getpid()) % 100'000;
const std::string kDirectory = "/tmp/tandemfs-" + std::to_string(kAlice);

class ControlSockets : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "becomes another user: run it as root";
    stdfs::remove_all(kDirectory);
  }
  void TearDown() override { stdfs::remove_all(kDirectory); }

  // Whether alice takes the directory for hers.
  static bool Takes(bool create) {
    const pid_t child = fork();
    if (child == 0) {
      unsetenv("XDG_RUNTIME_DIR");
      if (setgroups(0, nullptr) != 0 || setresgid(kAlice, kAlice, kAlice) != 0 ||
          setresuid(kAlice, kAlice, kAlice) != 0) {
        _exit(2);
      }
      const auto sockets = tools::AllControlSockets();
      const auto found = tools::FindControlSocket("/");
      const bool made = !create || tools::ControlDirectory(true).has_value();
      const bool refused =
          !found && found.error().ToString().find("remove it") != std::string::npos;
      _exit(sockets.has_value() && !refused && made ? 0 : 1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return status == 0;
  }
  static void Make(uid_t owner, mode_t mode) {
    ASSERT_TRUE(stdfs::create_directory(kDirectory));
    ASSERT_EQ(0, chown(kDirectory.c_str(), owner, owner));
    ASSERT_EQ(0, chmod(kDirectory.c_str(), mode));
  }
};

TEST_F(ControlSockets, TheirDirectoryIsMadePrivate) {
  EXPECT_TRUE(Takes(false)) << "there is none";
  EXPECT_TRUE(Takes(true));
  EXPECT_EQ(test::Lstat(kDirectory).st_mode & 07777, 0700u);
  ASSERT_EQ(0, chmod(kDirectory.c_str(), 0755));
  EXPECT_TRUE(Takes(false)) << "others can read only";
  EXPECT_TRUE(Takes(true));
}

TEST_F(ControlSockets, AnothersDirectoryIsRefused) {
  ASSERT_NO_FATAL_FAILURE(Make(kAlice + 1, 0777));
  EXPECT_FALSE(Takes(false));
  EXPECT_FALSE(Takes(true));
}

TEST_F(ControlSockets, OneThatOthersMayWriteToIsRefused) {
  ASSERT_NO_FATAL_FAILURE(Make(kAlice, 0777));
  EXPECT_FALSE(Takes(false));
}

TEST_F(ControlSockets, ASymbolicLinkIsRefused) {
  ASSERT_EQ(0, symlink("/tmp", kDirectory.c_str()));
  EXPECT_FALSE(Takes(false));
  EXPECT_FALSE(Takes(true));
}

}  // namespace
}  // namespace tandem
