// Links that do not work, and state that was lost: said, and overcome, with nothing lost.
#include <gmock/gmock.h>
#include <sys/mount.h>
#include <unistd.h>

#include <filesystem>

#include "tests/files.h"
#include "tests/mount_fixture.h"

namespace tandem::test {
namespace {

using ::testing::HasSubstr;
namespace stdfs = std::filesystem;

constexpr size_t kMiB = 1 << 20;

using Link = MountTest;

TEST_F(Link, ToANonsenseUrlIsSaidInStatus) {
  for (const std::string url : {"nonsense", "gopher://somewhere", "tcp://",
                                "tcp://no.such.host.invalid:1", "tcp://127.0.0.1:99999"}) {
    mount_.options().replicas = {"one=" + url};
    ASSERT_TRUE(mount_.Start()) << url;
    Write(mount_.path() + "/file", url);
    EXPECT_TRUE(WaitFor([&] { return !mount_.ReplicaError().empty(); })) << url;
    EXPECT_THAT(mount_.State(), ::testing::AnyOf("connecting", "blocked")) << url;
    EXPECT_EQ(mount_.Tandem("sync", {"--timeout", "0.2"}).code, 1);
    ASSERT_TRUE(mount_.Unmount());
  }
  // The name stays, the URL is mended.
  mount_.options().replicas = {"one=" + replica_.url()};
  ASSERT_TRUE(StartBoth());
  EXPECT_TRUE(Converges());
}

TEST_F(Link, ToAReplicaThatIsNotThereConnectsWhenItAppears) {
  ASSERT_TRUE(mount_.Start());
  MakeEveryKind(mount_.path());
  EXPECT_TRUE(WaitFor([&] { return !mount_.ReplicaError().empty(); }));
  EXPECT_EQ(mount_.State(), "connecting");
  ASSERT_TRUE(replica_.Start());
  EXPECT_TRUE(Converges());
  EXPECT_TRUE(mount_.WaitForState("current"));
  EXPECT_EQ(mount_.ReplicaError(), "");
}

TEST_F(Link, OfASecondSourceOfAVolumeIsRefused) {
  ASSERT_TRUE(StartBoth());
  MakeEveryKind(mount_.path());
  ASSERT_TRUE(mount_.Sync());
  Mount::Options options = OptionsOf("impostor");
  options.source = scratch_.Directory("another-source");
  Mount impostor(options);
  ASSERT_TRUE(impostor.Start());
  Write(impostor.path() + "/file", "of another source");
  EXPECT_TRUE(impostor.WaitForState("blocked"));
  EXPECT_THAT(impostor.ReplicaError(), HasSubstr("another source"));
  EXPECT_EQ(impostor.Tandem("sync", {"--timeout", "0.5"}).code, 1);
  ChangeEveryKind(mount_.path());
  EXPECT_TRUE(Converges());
}

// ---- A replica's full disk ---------------------------------------------------------------------

class FullDisk : public MountTest {
 protected:
  // The store on a filesystem of 200 MiB of which so much is free.
  void MakeStore(size_t free_bytes) {
    const std::string image = scratch_.Path("disk");
    Write(image, "");
    ASSERT_EQ(0, truncate(image.c_str(), 200 * kMiB));
    const Outcome made = Execute({"mkfs.ext4", "-q", "-m", "0", "-O", "^has_journal", image});
    ASSERT_EQ(made.code, 0) << made;
    const std::string disk = scratch_.Directory("disk.mounted");
    const Outcome mounted = Execute({"mount", "-o", "loop", image, disk});
    ASSERT_EQ(mounted.code, 0) << mounted;
    const size_t all = stdfs::space(disk).available;
    filler_ = disk + "/filler";
    Write(filler_, std::string(all - free_bytes, 'x'));
    full_ = std::make_unique<ReplicaDaemon>(scratch_, "full", disk + "/store");
    stdfs::create_directory(full_->store());
    mount_.options().replicas = {"one=" + full_->url()};
  }

  void ExpectBlockedUntilThereIsSpace() {
    EXPECT_TRUE(mount_.WaitForState("blocked")) << mount_.Status().dump(2);
    EXPECT_THAT(mount_.ReplicaError(),
                ::testing::AnyOf(HasSubstr("No space"), HasSubstr("no space")));
    Write(mount_.path() + "/while-blocked", "the source goes on");
    EXPECT_EQ(mount_.Tandem("sync", {"--timeout", "1"}).code, 1);
    stdfs::remove(filler_);
    EXPECT_TRUE(test::Converges(mount_, *full_));
    EXPECT_TRUE(mount_.WaitForState("current"));
  }

  // Above what it stands on: detached before that goes.
  std::string filler_;
  std::unique_ptr<ReplicaDaemon> full_;
};

TEST_F(FullDisk, BlocksTheLinkWhileStagingAndNothingIsLost) {
  MakeStore(20 * kMiB);
  ASSERT_TRUE(full_->Start());
  ASSERT_TRUE(mount_.Start());
  Write(mount_.path() + "/small", "small");
  ASSERT_TRUE(mount_.Sync());
  Write(mount_.path() + "/large", RandomBytes(30 * kMiB));
  ExpectBlockedUntilThereIsSpace();
}

TEST_F(FullDisk, BlocksTheLinkWhileApplyingAndNothingIsLost) {
  MakeStore(45 * kMiB);
  ASSERT_TRUE(full_->Start());
  mount_.options().more = {"--interval", "2000"};
  ASSERT_TRUE(mount_.Start());
  ASSERT_TRUE(mount_.Sync());
  Write(mount_.path() + "/large", RandomBytes(30 * kMiB));
  ExpectBlockedUntilThereIsSpace();
}

TEST_F(FullDisk, IsSurvivedByARestartOfTheReplica) {
  MakeStore(45 * kMiB);
  ASSERT_TRUE(full_->Start());
  ASSERT_TRUE(mount_.Start());
  Write(mount_.path() + "/large", RandomBytes(60 * kMiB));
  EXPECT_TRUE(mount_.WaitForState("blocked"));
  full_->Kill();
  ASSERT_TRUE(full_->Start());
  EXPECT_TRUE(mount_.WaitForState("blocked"));
  stdfs::remove(filler_);
  EXPECT_TRUE(test::Converges(mount_, *full_));
}

}  // namespace
}  // namespace tandem::test
