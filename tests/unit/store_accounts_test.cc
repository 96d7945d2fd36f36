// Each account reaches its own volumes, and learns nothing of others'.
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <fstream>

#include "tests/unit/accounts_fixture.h"

namespace tandem::replica {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
namespace stdfs = std::filesystem;

// A reply's bytes but for the session's id, which is random.
std::string BytesOf(Reply reply) {
  if (auto* position = std::get_if<Position>(&reply.body)) position->session = {};
  return EncodeReply(reply);
}

TEST_F(StoreAccounts, EachHasItsOwnVolumeOfOneNameAndId) {
  auto alice = ClientOf("alice/web");
  auto bob = ClientOf("bob/web");
  auto local = ClientOf("local");
  ASSERT_EQ(alice.Greet().code, ReplyCode::kOk);
  ASSERT_EQ(alice.Ship(NewFile(1, "of alice")).code, ReplyCode::kOk);
  ASSERT_EQ(bob.Greet().code, ReplyCode::kOk);
  ASSERT_EQ(local.Greet().code, ReplyCode::kOk);
  EXPECT_TRUE(stdfs::exists(At("alice/data/tree/file1")));
  EXPECT_TRUE(stdfs::exists(At("bob/data/tree")));
  EXPECT_FALSE(stdfs::exists(At("bob/data/tree/file1")));
  EXPECT_TRUE(stdfs::exists(At("data/tree")));
  EXPECT_EQ(alice.Ship(NewFile(2, "more")).code, ReplyCode::kOk) << "its session goes on";
  Restart();
  alice.Use(*store_);
  ASSERT_EQ(alice.Greet().code, ReplyCode::kOk);
  EXPECT_EQ(alice.base().epoch, Epoch(2)) << "it is found again";
}

// The replies to Hello are the same bytes whether or not another account has the volume, and
// nothing of that volume is touched.
TEST_F(StoreAccounts, Invariant12AnAccountCannotTellWhetherAnothersVolumeExists) {
  auto alice = ClientOf("alice/web", "secret");
  ASSERT_EQ(alice.Greet().code, ReplyCode::kOk);
  ASSERT_EQ(alice.Ship(NewFile(1, "secret")).code, ReplyCode::kOk);

  auto there = ClientOf("bob/web", "secret");
  auto absent = ClientOf("bob/web", "absent");
  EXPECT_EQ(BytesOf(there.Greet()), BytesOf(absent.Greet()));
  EXPECT_EQ(there.Ask(List{kRootObject, {}, {}, false}).code, ReplyCode::kOk);

  // Also where it is refused, by its rights...
  Rights limited = Admit("alice/mail");
  limited.volume_pattern = "mail*";
  registry_->Set(limited);
  const Reply refused = ClientOf("alice/mail", "secret").Greet();
  EXPECT_EQ(refused.code, ReplyCode::kRefused);
  std::string words = refused.message;
  words.replace(words.find("secret"), 6, "absent");
  EXPECT_EQ(words, ClientOf("alice/mail", "absent").Greet().message);
  EXPECT_FALSE(stdfs::exists(At("alice/absent")));

  // ... and where an account's directory has the name, or something else has.
  stdfs::create_directory(At("other"));
  const Reply account = ClientOf("local", "alice").Greet();
  EXPECT_EQ(account.code, ReplyCode::kRefused);
  words = account.message;
  words.replace(words.find("alice"), 5, "other");
  EXPECT_EQ(words, ClientOf("local", "other").Greet().message);
  EXPECT_THAT(account.message, Not(HasSubstr(scratch_.path())));

  EXPECT_EQ(alice.Ship(NewFile(2, "more")).code, ReplyCode::kOk) << "its session goes on";
}

TEST_F(StoreAccounts, ASessionBelongsToTheIdentityThatOpenedIt) {
  auto alice = ClientOf("alice/web");
  ASSERT_EQ(alice.Greet().code, ReplyCode::kOk);
  const Reply never = ClientOf("bob/web").Ask(WaitApplied{});
  for (const char* identity : {"bob/web", "alice/mail", "local"}) {
    auto thief = ClientOf(identity);
    thief.set_session(alice.session());
    const Reply reply = thief.Begin();
    EXPECT_EQ(reply.code, ReplyCode::kUnknownSession) << identity;
    EXPECT_EQ(EncodeReply(reply), EncodeReply(never));
  }
  EXPECT_EQ(alice.Begin().code, ReplyCode::kOk);
}

TEST_F(StoreAccounts, AnotherIdentityThatNamesTheSameRunIsAnotherSource) {
  auto alice = ClientOf("alice/web");
  const Hello hello{1, 1, "data", VolumeId(1, 1), "host:/data", RunId(7, 7)};
  EXPECT_EQ(alice.Ask(hello).code, ReplyCode::kOk);
  EXPECT_EQ(ClientOf("alice/web").Ask(hello).code, ReplyCode::kOk) << "it says Hello again";
  EXPECT_EQ(ClientOf("alice/mail").Ask(hello).code, ReplyCode::kRefused);
}

TEST_F(StoreAccounts, ARevocationBitesAtTheNextRequest) {
  auto alice = ClientOf("alice/web");
  ASSERT_EQ(alice.Greet().code, ReplyCode::kOk);
  ASSERT_EQ(alice.Begin().code, ReplyCode::kOk);
  registry_->Revoke("alice/web");
  const Reply reply = alice.Ask(alice.MakeChunk(NewFile(1, "x")));
  EXPECT_EQ(reply.code, ReplyCode::kRefused);
  EXPECT_THAT(reply.message, HasSubstr("revoked"));
}

TEST_F(StoreAccounts, AReadOnlyIdentityOpensNoWritingSession) {
  Rights reader = Admit("alice/mail");
  reader.may_write = false;
  registry_->Set(reader);
  const Reply reply = ClientOf("alice/mail").Greet();
  EXPECT_EQ(reply.code, ReplyCode::kRefused);
  EXPECT_THAT(reply.message, HasSubstr("may not write"));
  EXPECT_FALSE(stdfs::exists(At("alice")));
}

TEST_F(StoreAccounts, AStrangerMayOnlyEnrol) {
  Rights stranger = Admit("alice/mail");
  stranger.may_only_enrol = true;
  registry_->Set(stranger);
  const Reply reply = ClientOf("alice/mail").Greet();
  EXPECT_EQ(reply.code, ReplyCode::kRefused);
  EXPECT_THAT(reply.message, HasSubstr("enrol with a token"));
}

TEST_F(StoreAccounts, AnAccountWhoseNameAVolumeHasIsToldNothingOfIt) {
  ASSERT_EQ(ClientOf("local", "alice").Greet().code, ReplyCode::kOk);
  const Reply reply = ClientOf("alice/web").Greet();
  EXPECT_EQ(reply.code, ReplyCode::kRefused);
  EXPECT_THAT(reply.message, HasSubstr("the log of tandemd says why"));
  EXPECT_THAT(reply.message, Not(HasSubstr("volume")));
  EXPECT_FALSE(stdfs::exists(At("alice/data")));
}

TEST_F(StoreAccounts, NamesThatLeadElsewhereMakeNoAccount) {
  for (const char* account : {"..", ".tandemd", "a\nb/c"}) {
    Rights rights;
    rights.account = account;
    rights.identity = "odd";
    registry_->Set(rights);
    const Reply reply = ClientOf("odd").Greet();
    EXPECT_NE(reply.code, account[0] == 'a' ? ReplyCode::kBusy : ReplyCode::kOk) << account;
  }
  EXPECT_FALSE(stdfs::exists(scratch_.path() + "/../data"));
}

// ---- Adopting ----------------------------------------------------------------------------------

TEST_F(StoreAccounts, AVolumeIsAdoptedWhereItStands) {
  auto local = ClientOf("local");
  ASSERT_EQ(local.Greet().code, ReplyCode::kOk);
  ASSERT_EQ(local.Ship(NewFile(1, "kept")).code, ReplyCode::kOk);
  struct stat before;
  ASSERT_EQ(stat(At("data/tree/file1").c_str(), &before), 0);
  EXPECT_EQ(AdoptVolume(scratch_.path(), "data", "alice").error().code(), EBUSY);
  store_.reset();
  ASSERT_EQ(chmod(scratch_.path().c_str(), 0755), 0);
  for (int i = 0; i < 2; ++i) {  // as after a crash behind the move
    const auto adopted = AdoptVolume(scratch_.path(), "data", "alice");
    EXPECT_TRUE(adopted) << adopted.error().ToString();
  }
  EXPECT_EQ(AdoptVolume(scratch_.path(), "absent", "alice").error().kind(), ErrorKind::kUsage);
  EXPECT_EQ(AdoptVolume(At("absent"), "data", "alice").error().code(), ENOENT);
  for (const std::string& directory : {scratch_.path(), At("alice")}) {
    EXPECT_EQ(stdfs::status(directory).permissions(), stdfs::perms(0755)) << directory;
  }
  struct stat after;
  ASSERT_EQ(stat(At("alice/data/tree/file1").c_str(), &after), 0);
  EXPECT_EQ(before.st_ino, after.st_ino);
  EXPECT_FALSE(stdfs::exists(At("data")));
  Start();
  auto alice = ClientOf("alice/web");
  ASSERT_EQ(alice.Greet().code, ReplyCode::kOk);
  EXPECT_EQ(alice.base(), local.base()) << "it goes on from its cut";
  EXPECT_EQ(alice.Ship(NewFile(2, "more")).code, ReplyCode::kOk);
}

TEST_F(StoreAccounts, AnAdoptionThatWasKilledIsFinished) {
  ASSERT_EQ(ClientOf("local").Greet().code, ReplyCode::kOk);
  ASSERT_EQ(ClientOf("alice/web", "other").Greet().code, ReplyCode::kOk);
  store_.reset();
  // Before the move there may be the account's directory, and what was to become it.
  stdfs::create_directory(At(".new-0123"));
  std::ofstream(At(".new-0123/account")) << "{";
  const auto layout = StoreLayout::Open(scratch_.path()).value();
  EXPECT_EQ(layout->FindVolumes().value().size(), 2u);
  EXPECT_FALSE(stdfs::exists(At(".new-0123")));
  EXPECT_TRUE(layout->Adopt("data", "alice"));
  EXPECT_EQ(layout->FindVolumes().value(),
            (std::vector<VolumeKey>{{"alice", "data"}, {"alice", "other"}}));
}

TEST_F(StoreAccounts, AdoptingRefusesWhatIsInUseOrTaken) {
  auto local = ClientOf("local");
  ASSERT_EQ(local.Greet().code, ReplyCode::kOk);
  ASSERT_EQ(ClientOf("alice/web").Greet().code, ReplyCode::kOk);
  EXPECT_EQ(store_->Adopt("data", "bob").error().code(), EBUSY) << "its source is there";
  EXPECT_EQ(store_->Adopt("data", "alice", {}).error().code(), EEXIST);
  EXPECT_EQ(store_->Adopt("data", "data", {}).error().code(), EEXIST);
  EXPECT_FALSE(store_->Adopt("data", "local", {}));
  EXPECT_EQ(StoreLayout::Open(scratch_.path()).error().code(), EBUSY) << "a daemon has the store";
  ASSERT_EQ(local.Greet().code, ReplyCode::kOk);
  ASSERT_EQ(local.Ship(NewFile(1, "x")).code, ReplyCode::kOk);
  while (!StagesIn(scratch_.path(), "data").empty()) usleep(10'000);
  const auto adopted = store_->Adopt("data", "bob", {});
  EXPECT_TRUE(adopted) << adopted.error().ToString();
  EXPECT_EQ(local.Begin().code, ReplyCode::kUnknownSession);
  auto bob = ClientOf("bob/web");
  ASSERT_EQ(bob.Greet().code, ReplyCode::kOk);
  EXPECT_EQ(bob.base(), local.base());
}

}  // namespace
}  // namespace tandem::replica
