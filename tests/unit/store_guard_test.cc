// A mount is kept out of stores, by whatever way it is shown one.
#include "tools/store_guard.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>

#include <filesystem>
#include <fstream>

#include "meta/base/unique_fd.h"
#include "replica/store/store.h"
#include "tests/unit/replica_client.h"

namespace tandem::tools {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
namespace stdfs = std::filesystem;

class StoreGuard : public testing::Test {
 protected:
  StoreGuard() {
    for (const char* name : {"store", "source", "mountpoint", "elsewhere/deep"}) {
      stdfs::create_directories(At(name));
    }
    store_ = replica::Store::Open(At("store")).value();
    replica::ReplicaClient client(*store_);
    EXPECT_EQ(client.Greet().code, replica::ReplyCode::kOk);
    stdfs::create_directories(At("store/vol/tree/deep/down"));
  }
  std::string At(const std::string& name) const { return scratch_.path() + "/" + name; }
  static std::string Refusal(const std::string& source, const std::string& mountpoint) {
    const UniqueFd fd(open(source.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    const Status checked = CheckOutsideStores(fd.get(), source, mountpoint);
    return checked ? "" : checked.error().ToString();
  }

  replica::ScratchDirectory scratch_;
  std::unique_ptr<replica::Store> store_;
};

TEST_F(StoreGuard, StoresVolumesAndWhatIsInThemAreRefused) {
  for (const bool live : {true, false}) {
    if (!live) store_.reset();
    for (const char* inside : {"store", "store/vol", "store/vol/tree", "store/vol/tree/deep/down",
                               "store/vol/stage/hold"}) {
      const std::string named =
          live ? "process " + std::to_string(getpid()) : "where tandemd keeps replicas: ";
      EXPECT_THAT(
          Refusal(At(inside), At("mountpoint")),
          AllOf(HasSubstr("source " + At(inside) + " is inside " + At("store")), HasSubstr(named)));
      EXPECT_THAT(Refusal(At("source"), At(inside)),
                  AllOf(HasSubstr("mountpoint " + At(inside)), HasSubstr(At("store"))));
    }
  }
}

TEST_F(StoreGuard, DirectoriesOfAccountsAreRefused) {
  store_.reset();
  ASSERT_TRUE(replica::AdoptVolume(At("store"), "vol", "alice"));
  for (const bool live : {false, true}) {
    if (live) store_ = replica::Store::Open(At("store")).value();
    for (const char* inside :
         {"store", "store/alice", "store/alice/vol", "store/alice/vol/tree/deep/down"}) {
      EXPECT_THAT(Refusal(At(inside), At("mountpoint")),
                  HasSubstr("source " + At(inside) + " is inside " + At("store") + ","));
    }
  }
}

TEST_F(StoreGuard, OtherDirectoriesAreNot) {
  EXPECT_EQ(Refusal(At("source"), At("source")), "");
  EXPECT_EQ(Refusal(At("elsewhere"), At("elsewhere/deep")), "");
  // One that holds a store, or that has files of such names, is none.
  EXPECT_EQ(Refusal(scratch_.path(), At("mountpoint")), "");
  for (const char* name : {"source/tree", "source/.lock", "source/volume"}) {
    stdfs::create_directories(At(name));
  }
  std::ofstream(At("source/tree/account")) << "mine";
  EXPECT_EQ(Refusal(At("source/tree"), At("mountpoint")), "");
}

TEST_F(StoreGuard, AnotherMountOfAVolumesTreeIsSeenThrough) {
  if (mount(At("store/vol/tree").c_str(), At("elsewhere").c_str(), "", MS_BIND, nullptr) != 0) {
    GTEST_SKIP() << "cannot bind: " << strerror(errno);
  }
  EXPECT_THAT(Refusal(At("elsewhere/deep/down"), At("mountpoint")), HasSubstr(At("store")));
  EXPECT_THAT(Refusal(At("elsewhere"), At("mountpoint")), HasSubstr(At("store")));
  ASSERT_EQ(0, umount(At("elsewhere").c_str()));
  EXPECT_EQ(Refusal(At("elsewhere"), At("mountpoint")), "");
}

}  // namespace
}  // namespace tandem::tools
