#include "fs/serving/caller_status.h"

#include <grp.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <functional>
#include <thread>

#include "fs/caller/privileges.h"
#include "meta/base/unique_fd.h"
#include "tests/files.h"

namespace tandem::fs {
namespace {

constexpr uid_t kAlice = 12'001;
constexpr uid_t kBob = 12'002;
constexpr gid_t kStaff = 12'100;

fuse_ctx Caller(pid_t pid, uid_t uid, gid_t gid) {
  fuse_ctx caller = {};
  caller.pid = pid;
  caller.uid = uid;
  caller.gid = gid;
  return caller;
}

struct stat Owned(uid_t uid, gid_t gid) {
  struct stat object = {};
  object.st_uid = uid;
  object.st_gid = gid;
  return object;
}

// A process that has made itself what `become` says, and waits.
class Waiting {
 public:
  explicit Waiting(const std::function<bool()>& become) {
    int ends[2];
    if (pipe(ends) != 0) std::abort();
    const UniqueFd ready(ends[0]);
    UniqueFd tell(ends[1]);
    pid_ = fork();
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (!become() || write(tell.get(), "y", 1) != 1) _exit(1);
      while (true) pause();
    }
    tell.Reset();
    char byte;
    became_ = read(ready.get(), &byte, 1) == 1;
  }
  Waiting(const Waiting&) = delete;
  ~Waiting() {
    if (pid_ > 0) End();
  }

  void Kill() { kill(pid_, SIGKILL); }
  pid_t End() {
    Kill();
    waitpid(pid_, nullptr, 0);
    return std::exchange(pid_, -1);
  }
  pid_t pid() const { return pid_; }
  bool became() const { return became_; }

 private:
  pid_t pid_ = -1;
  bool became_ = false;
};

bool BecomeAlice() {
  const gid_t groups[] = {kStaff};
  return setgroups(1, groups) == 0 && setresgid(kAlice, kAlice, kAlice) == 0 &&
         setresuid(kAlice, kAlice, kAlice) == 0;
}

class CallersStatus : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "becomes other users: run it as root";
  }
};

TEST_F(CallersStatus, RootHasWhatItHas) {
  const auto root = CallerStatus::Of(Caller(gettid(), 0, 0));
  EXPECT_TRUE(root.Has(CAP_FSETID));
  EXPECT_TRUE(root.MayActAsOwnerOf(Owned(kAlice, kAlice)));
  EXPECT_TRUE(root.MayKeepSetgidOf(Owned(kAlice, kAlice)));
}

TEST_F(CallersStatus, EachThreadHasItsOwn) {
  std::thread([] {
    ASSERT_TRUE(SetEffectiveCapability(CAP_FSETID, false));
    EXPECT_FALSE(CallerStatus::Of(Caller(gettid(), 0, 0)).Has(CAP_FSETID));
    EXPECT_TRUE(CallerStatus::Of(Caller(getpid(), 0, 0)).Has(CAP_FSETID));
  }).join();
}

TEST_F(CallersStatus, AUserHasGroupsAndNoCapabilities) {
  const Waiting alice(BecomeAlice);
  ASSERT_TRUE(alice.became());
  const auto status = CallerStatus::Of(Caller(alice.pid(), kAlice, kAlice));
  EXPECT_TRUE(status.IsIn(kAlice));
  EXPECT_TRUE(status.IsIn(kStaff));
  EXPECT_FALSE(status.IsIn(0));
  EXPECT_FALSE(status.Has(CAP_FSETID));
  EXPECT_TRUE(status.MayActAsOwnerOf(Owned(kAlice, 0)));
  EXPECT_FALSE(status.MayActAsOwnerOf(Owned(0, kAlice)));
  EXPECT_TRUE(status.MayKeepSetgidOf(Owned(0, kStaff)));
  EXPECT_FALSE(status.MayKeepSetgidOf(Owned(kAlice, 0)));
}

TEST_F(CallersStatus, ANameThatLooksLikeCapabilitiesGivesNone) {
  const Waiting alice([] { return BecomeAlice() && prctl(PR_SET_NAME, "CapEff: ffffff") == 0; });
  ASSERT_TRUE(alice.became());
  EXPECT_FALSE(CallerStatus::Of(Caller(alice.pid(), kAlice, kAlice)).Has(CAP_FSETID));
  const Waiting other([] { return BecomeAlice() && prctl(PR_SET_NAME, "x\nGroups: 0") == 0; });
  ASSERT_TRUE(other.became());
  EXPECT_FALSE(CallerStatus::Of(Caller(other.pid(), kAlice, kAlice)).IsIn(0));
}

TEST_F(CallersStatus, CapabilitiesOfAnotherUserNamespaceCountForItsOwnIdsOnly) {
  const Waiting alice([] { return BecomeAlice() && unshare(CLONE_NEWUSER) == 0; });
  ASSERT_TRUE(alice.became());
  const std::string proc = "/proc/" + std::to_string(alice.pid());
  test::Write(proc + "/uid_map", "0 12001 2\n");  // alice and bob
  test::Write(proc + "/gid_map", "0 12001 1\n");
  const auto status = CallerStatus::Of(Caller(alice.pid(), kAlice, kAlice));
  EXPECT_FALSE(status.Has(CAP_FSETID));
  EXPECT_FALSE(status.MayActAsOwnerOf(Owned(0, 0)));
  EXPECT_TRUE(status.MayActAsOwnerOf(Owned(kBob, 0)));
  EXPECT_FALSE(status.MayKeepSetgidOf(Owned(kBob, 0)));
  EXPECT_FALSE(status.MayKeepSetgidOf(Owned(0, 0)));
  EXPECT_TRUE(status.MayKeepSetgidOf(Owned(0, kStaff))) << "a group of hers all the same";
}

TEST_F(CallersStatus, RootOfAnotherUserNamespaceIsNotRoot) {
  const Waiting root([] { return unshare(CLONE_NEWUSER) == 0; });
  ASSERT_TRUE(root.became());
  const auto status = CallerStatus::Of(Caller(root.pid(), 0, 0));
  EXPECT_FALSE(status.Has(CAP_FSETID));
  EXPECT_FALSE(status.MayActAsOwnerOf(Owned(kAlice, kAlice)));
}

TEST_F(CallersStatus, AThreadThatIsNotTheCallerGivesNothing) {
  // Root's, though alice asks: the number is another's by now.
  const auto alice = CallerStatus::Of(Caller(getpid(), kAlice, kAlice));
  EXPECT_FALSE(alice.Has(CAP_FSETID));
  EXPECT_FALSE(alice.MayActAsOwnerOf(Owned(0, 0)));
  EXPECT_FALSE(alice.IsIn(0));
}

TEST_F(CallersStatus, RootsCredentialsLentToAnotherAreRoots) {
  const Waiting alice(BecomeAlice);
  ASSERT_TRUE(alice.became());
  EXPECT_TRUE(CallerStatus::Of(Caller(alice.pid(), 0, 0)).Has(CAP_FSETID));
  const Waiting outside([] { return BecomeAlice() && unshare(CLONE_NEWUSER) == 0; });
  ASSERT_TRUE(outside.became());
  EXPECT_FALSE(CallerStatus::Of(Caller(outside.pid(), 0, 0)).Has(CAP_FSETID));
}

// Without CAP_SYS_PTRACE the namespace of others is not ours to see.
TEST_F(CallersStatus, WhereTheNamespaceIsUnknownTheUserDecides) {
  const Waiting alice(BecomeAlice);
  ASSERT_TRUE(alice.became());
  std::thread([&alice] {
    ASSERT_TRUE(SetEffectiveCapability(CAP_SYS_PTRACE, false));
    EXPECT_TRUE(CallerStatus::Of(Caller(getpid(), 0, 0)).Has(CAP_FSETID));
    const auto status = CallerStatus::Of(Caller(alice.pid(), kAlice, kAlice));
    EXPECT_TRUE(status.IsIn(kStaff));
    EXPECT_FALSE(status.Has(CAP_FSETID));
    EXPECT_TRUE(status.MayActAsOwnerOf(Owned(kAlice, 0)));
  }).join();
}

TEST_F(CallersStatus, TheDeadHaveNone) {
  Waiting root([] { return true; });
  ASSERT_TRUE(root.became());
  const pid_t pid = root.pid();
  root.Kill();
  siginfo_t ended;
  ASSERT_EQ(0, waitid(P_PID, static_cast<id_t>(pid), &ended, WEXITED | WNOWAIT));
  EXPECT_FALSE(CallerStatus::Of(Caller(pid, 0, 0)).Has(CAP_FSETID)) << "not waited for";
  root.End();
  EXPECT_FALSE(CallerStatus::Of(Caller(pid, 0, 0)).Has(CAP_FSETID)) << "gone";
}

TEST_F(CallersStatus, WithoutAThreadTheUserDecides) {
  EXPECT_TRUE(CallerStatus::Of(Caller(0, 0, 0)).Has(CAP_FSETID));
  const auto alice = CallerStatus::Of(Caller(0, kAlice, kStaff));
  EXPECT_FALSE(alice.Has(CAP_FSETID));
  EXPECT_FALSE(alice.MayActAsOwnerOf(Owned(0, 0)));
  EXPECT_TRUE(alice.IsIn(kStaff));
  EXPECT_FALSE(alice.IsIn(kAlice));
}

}  // namespace
}  // namespace tandem::fs
