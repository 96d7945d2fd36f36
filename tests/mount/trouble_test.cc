// Links that do not work, and state that was lost: said, and overcome, with nothing lost.
#include <gmock/gmock.h>

#include "tests/files.h"
#include "tests/mount_fixture.h"

namespace tandem::test {
namespace {

using ::testing::HasSubstr;

class Link : public MountTest {
 protected:
  // Status comes to say so of the replica.
  bool Says(const std::string& text) {
    return WaitFor([&] { return mount_.ReplicaError().find(text) != std::string::npos; });
  }
};

TEST_F(Link, ToAnUnknownHostIsSaidInStatus) {
  mount_.options().replicas = {"one=tcp://no.such.host.invalid:1"};
  ASSERT_TRUE(mount_.Start());
  Write(mount_.path() + "/file", "text");
  EXPECT_TRUE(Says("no address is known of host no.such.host.invalid")) << mount_.ReplicaError();
  EXPECT_EQ(mount_.State(), "connecting");
  EXPECT_EQ(mount_.Tandem("sync", {"--timeout", "0.2"}).code, 1);
  ASSERT_TRUE(mount_.Unmount());
  // The name stays, the URL is mended.
  mount_.options().replicas = {"one=" + replica_.url()};
  ASSERT_TRUE(StartBoth());
  EXPECT_TRUE(Converges());
}

TEST_F(Link, ToAReplicaThatIsNotThereConnectsWhenItAppears) {
  ASSERT_TRUE(mount_.Start());
  MakeEveryKind(mount_.path());
  EXPECT_TRUE(Says("nothing listens at " + replica_.url())) << mount_.ReplicaError();
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
  EXPECT_EQ(impostor.Tandem("status").code, 3);
  EXPECT_GE(Execute({Program("tandem"), "status"}).code, 3);
  EXPECT_EQ(mount_.Tandem("status").code, 0);
  EXPECT_EQ(impostor.Tandem("sync", {"--timeout", "0.5"}).code, 1);
  ChangeEveryKind(mount_.path());
  EXPECT_TRUE(Converges());
}

}  // namespace
}  // namespace tandem::test
