// Links that do not work, and state that was lost: said, and overcome, with nothing lost.
#include <gmock/gmock.h>

#include "tests/files.h"
#include "tests/mount_fixture.h"

namespace tandem::test {
namespace {

using ::testing::HasSubstr;

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

}  // namespace
}  // namespace tandem::test
