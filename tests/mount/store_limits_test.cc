// What the administrator of a store does not want used is left alone, and status says why.
#include <gmock/gmock.h>

#include "tests/files.h"
#include "tests/mount_fixture.h"

namespace tandem::test {
namespace {

using ::testing::HasSubstr;

class StoreLimits : public MountTest {};

TEST_F(StoreLimits, TheReserveBlocksAVolumeUntilItIsLowered) {
  replica_.more() = {"--reserve", "1000000T"};
  Write(mount_.options().source + "/file", "content");
  ASSERT_TRUE(StartBoth());
  EXPECT_TRUE(mount_.WaitForState("blocked")) << mount_.Status().dump(2);
  EXPECT_THAT(mount_.ReplicaError(), HasSubstr("that --reserve keeps"));
  Write(mount_.path() + "/while-blocked", "the source goes on");
  ASSERT_TRUE(replica_.Stop());
  replica_.more().clear();
  ASSERT_TRUE(replica_.Start());
  EXPECT_TRUE(Converges());
  EXPECT_TRUE(mount_.WaitForState("current"));
}

}  // namespace
}  // namespace tandem::test
