// A volume is mounted again while the tandemfs before is still ending.
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/mount.h>
#include <unistd.h>

#include "tests/files.h"
#include "tests/mount_fixture.h"

namespace tandem::test {
namespace {

using ::testing::HasSubstr;

class Remount : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped()) return;
    mount_.options().more = {"--stop-timeout", "10"};
    ASSERT_TRUE(mount_.Start());
    // It is taken in until the time for that is over.
    writer_ = std::make_unique<Process>(Launch{
        {Program("tests/map_writer"), mount_.path() + "/busy", "10", "tag", "--keep-storing"}});
    ASSERT_TRUE(WaitFor([&] { return writer_->out() == "dirty\n"; })) << writer_->err();
    // Out of sight, so that there is nothing to take over from.
    ASSERT_EQ(0, umount2(mount_.path().c_str(), MNT_DETACH));
    mount_.process().Signal(SIGTERM);
    ASSERT_TRUE(WaitFor([&] { return access(note_.c_str(), F_OK) == 0; }));
  }

  const std::string note_ = OptionsOf("mount").state + "/tandemfs.ending";
  std::unique_ptr<Process> writer_;
};

TEST_F(Remount, WaitsForOneThatIsEndingAndNamesWhatItIsBusyWith) {
  Mount again(mount_.options());
  ASSERT_TRUE(again.Start());
  EXPECT_THAT(again.process().err(),
              HasSubstr("waiting for the tandemfs that is ending (process " +
                        std::to_string(mount_.process().pid()) + "): flushing"));
  EXPECT_THAT(again.process().err(), HasSubstr("busy"));
  EXPECT_FALSE(mount_.process().running());
  EXPECT_NE(0, access(note_.c_str(), F_OK));
}

TEST_F(Remount, DoesNotWaitForOneThatStandsStill) {
  mount_.process().Signal(SIGSTOP);
  ASSERT_TRUE(WaitFor([&] { return mount_.process().stopped(); }));
  const Outcome again = Execute(mount_.Command(), kPatience);
  EXPECT_NE(again.code, 0);
  EXPECT_THAT(again.err, HasSubstr("has stood still"));
  mount_.process().Signal(SIGCONT);
}

}  // namespace
}  // namespace tandem::test
