// Two hosts are joined by two commands: tandemd invite, and tandemfs --replica @FILE. Over a real
// connection, with TLS.
#include <gmock/gmock.h>

#include <filesystem>

#include "tests/enrolled_mount.h"
#include "tests/files.h"

namespace tandem::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

TEST_F(EnrolledMount, ReplicatesAndLaterNeedsTheUrlAlone) {
  const std::string token = Invite();
  ASSERT_TRUE(mount_.Start());
  EXPECT_TRUE(IsSame());
  EXPECT_EQ(mount_.ReplicaStatus()["url"], tls_url_);
  const std::string secret = token.substr(token.find('.') + 1);
  EXPECT_THAT(mount_.Status().dump() + mount_.process().err() + replica_.process().err(),
              Not(HasSubstr(secret)));
  EXPECT_THAT(Read("/proc/" + std::to_string(mount_.process().pid()) + "/cmdline"),
              Not(HasSubstr(secret)));
  ASSERT_TRUE(mount_.Unmount());

  std::filesystem::remove(token_file_);
  mount_.options().replicas = {"backup=" + tls_url_};
  Write(source_ + "/another", "while it was not mounted");
  ASSERT_TRUE(mount_.Start());
  Write(mount_.path() + "/file", "changed");
  EXPECT_TRUE(mount_.Sync());
  EXPECT_EQ(Read(Tree() + "/file"), "changed");
}

TEST_F(EnrolledMount, EnrolsBeforeItGoesToTheBackground) {
  Invite();
  std::vector<std::string> command = mount_.Command();
  std::erase(command, "-f");
  const Outcome started = Execute(Launch{command, mount_.options().environment});
  ASSERT_EQ(started.code, 0) << started;
  EXPECT_TRUE(IsSame());
  const Outcome ended = Execute(std::vector<std::string>{"fusermount3", "-u", mount_.path()});
  EXPECT_EQ(ended.code, 0) << ended;
}

TEST_F(EnrolledMount, IsToldOfARevocationAtOnce) {
  ASSERT_TRUE(StartEnrolled());
  const std::string name = Identity()["name"];
  ASSERT_EQ(Tandemd({"account", "revoke", name}).code, 0);
  EXPECT_TRUE(mount_.WaitForState("blocked")) << mount_.Status().dump(2);
  EXPECT_THAT(mount_.ReplicaError(), AllOf(HasSubstr(name), HasSubstr("revoked")));
  Write(mount_.path() + "/file", "after the revocation");
  EXPECT_EQ(mount_.Tandem("sync", {"--timeout", "1"}).code, 1);
  EXPECT_EQ(Read(Tree() + "/file"), "content");
}

TEST_F(EnrolledMount, RenewsItsKeyWithoutABreak) {
  ASSERT_TRUE(StartEnrolled());
  ASSERT_TRUE(mount_.Unmount());
  ASSERT_EQ(Tandemd({"account", "rotate", "alice"}).code, 0);
  const std::string former = Identity()["key"];
  ASSERT_TRUE(mount_.Start());
  EXPECT_TRUE(WaitFor([&] { return Identity()["state"] != "to be renewed"; })) << Identity();
  Write(mount_.path() + "/file", "with a new key");
  EXPECT_TRUE(IsSame());
  EXPECT_EQ(mount_.State(), "current");
  ASSERT_TRUE(replica_.Stop());  // which writes down that the new key is in use
  EXPECT_EQ(Identity()["state"], "renewed");
}

TEST_F(EnrolledMount, WithAStolenTokenIsRefusedAndBothSidesLearnOfIt) {
  Invite();
  ASSERT_TRUE(mount_.Start());
  Mount::Options options = OptionsOf("thief");
  options.replicas = mount_.options().replicas;
  options.environment["TANDEM_KEYS"] = scratch_.Path("thief.keys");
  options.source = scratch_.Directory("thief.source");
  const Outcome thief = Execute(Launch{Mount::CommandOf(options), options.environment});
  EXPECT_NE(thief.code, 0);
  EXPECT_THAT(thief.err, HasSubstr("a different host has used this invitation"));
  EXPECT_THAT(replica_.process().err(), HasSubstr("a different host has used this invitation"));
  EXPECT_THAT(Tandemd({"account", "list"}).out, HasSubstr("ANOTHER HOST HAS TRIED IT"));
  EXPECT_TRUE(IsSame()) << "the first goes on";
}

TEST_F(EnrolledMount, MayHaveAReplicaUnderEachOfTwoAccounts) {
  Invite();
  ASSERT_TRUE(mount_.Start());
  ASSERT_TRUE(mount_.Unmount());
  const std::string address = "127.0.0.1:" + std::to_string(port_);
  Write(token_file_, InviteTo("bob") + "\n");
  mount_.options().replicas = {"backup=tls://" + address, "other=@" + token_file_};
  ASSERT_TRUE(mount_.Start());
  EXPECT_TRUE(IsSame());
  EXPECT_TRUE(SameTrees(source_, replica_.store() + "/bob/" + kVolume + "/tree"));
  EXPECT_EQ(mount_.Status()["replicas"][1]["url"], "tls://bob@" + address);
}

TEST_F(EnrolledMount, WithoutAKeySaysWhatToDo) {
  mount_.options().replicas = {"backup=" + tls_url_};
  ASSERT_TRUE(mount_.Start()) << "a mount is usable whatever its replicas are";
  EXPECT_THAT(mount_.process().err(),
              AllOf(HasSubstr("nothing goes to replica backup"), HasSubstr("tandemd invite")));
  EXPECT_TRUE(mount_.WaitForState("blocked"));
  EXPECT_THAT(mount_.ReplicaError(), AllOf(HasSubstr("tandemd invite"), HasSubstr("@FILE")));
}

}  // namespace
}  // namespace tandem::test
