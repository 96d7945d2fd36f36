// What an account may have: bytes, objects, volumes; and what of the disk nobody may use.
#include <gmock/gmock.h>

#include "replica/store/reserve.h"
#include "replica/store/tuning.h"
#include "tests/files.h"
#include "tests/unit/accounts_fixture.h"

namespace tandem::replica {
namespace {

using test::kMiB;
using ::testing::HasSubstr;

std::string Random(size_t size) {
  std::string text(size, '\0');
  uint64_t state = 88172645463325252u;
  for (char& one : text) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    one = static_cast<char>(state);
  }
  return text;
}

class Quotas : public StoreAccounts {
 protected:
  void Limit(const std::string& identity, const Quota& quota) {
    Rights rights = Admit(identity);
    rights.quota = quota;
    registry_->Set(rights);
  }
  // The sender's way when a cut does not fit: only what makes room, as a set of no moment.
  static Reply ShipThin(ReplicaClient& client, const std::vector<Record>& records) {
    client.Begin();
    client.Ask(client.MakeChunk(records));
    return client.Finish({Epoch(), CutId::Random()});
  }
};

TEST_F(Quotas, BytesAreCountedOverAllVolumesOfAnAccount) {
  Limit("alice/web", {.bytes = 3 * kMiB});
  Limit("alice/mail", {.bytes = 3 * kMiB});
  auto web = ClientOf("alice/web", "web");
  auto mail = ClientOf("alice/mail", "mail", VolumeId(2, 2));
  auto bob = ClientOf("bob/web");
  for (auto* client : {&web, &mail, &bob}) ASSERT_EQ(client->Greet().code, ReplyCode::kOk);
  ASSERT_EQ(web.Ship(NewFile(1, Random(2 * kMiB))).code, ReplyCode::kOk);
  const Reply reply = mail.Ship(NewFile(1, Random(2 * kMiB)));
  EXPECT_EQ(reply.code, ReplyCode::kNoSpace);
  for (const char* word : {"alice/mail", "quota of account alice is 3 MiB", "have 2 MiB",
                           "adds 2 MiB", "tandemd account"}) {
    EXPECT_THAT(reply.message, HasSubstr(word));
  }
  EXPECT_EQ(bob.Ship(NewFile(1, Random(2 * kMiB))).code, ReplyCode::kOk) << "others go on";
  EXPECT_EQ(web.Ship(NewFile(1, Random(2 * kMiB))).code, ReplyCode::kOk) << "it adds nothing";

  // It heals when files go...
  ASSERT_EQ(web.Ship(Removal(1)).code, ReplyCode::kOk);
  EXPECT_EQ(mail.Ship(NewFile(1, Random(2 * kMiB))).code, ReplyCode::kOk);
  // ... or when it is raised.
  EXPECT_EQ(web.Ship(NewFile(2, Random(2 * kMiB))).code, ReplyCode::kNoSpace);
  Limit("alice/web", {.bytes = 5 * kMiB});
  EXPECT_EQ(web.Ship(NewFile(2, Random(2 * kMiB))).code, ReplyCode::kOk);
}

TEST_F(Quotas, AreAskedForBeforeAnythingIsSent) {
  Limit("alice/web", {.bytes = kMiB});
  auto client = ClientOf("alice/web");
  ASSERT_EQ(client.Greet().code, ReplyCode::kOk);
  EXPECT_EQ(client.Ask(Begin{CutId::Random(), client.base(), 2 * kMiB}).code, ReplyCode::kNoSpace);
  EXPECT_EQ(client.Ask(Begin{CutId::Random(), client.base(), kMiB / 2}).code, ReplyCode::kOk);
}

TEST_F(Quotas, AreWatchedWhileAStageGrows) {
  Limit("alice/web", {.bytes = kMiB});
  auto client = ClientOf("alice/web");
  ASSERT_EQ(client.Greet().code, ReplyCode::kOk);
  ASSERT_EQ(client.Begin().code, ReplyCode::kOk);
  EXPECT_EQ(client.Ask(client.MakeChunk(NewFile(1, Random(kMiB / 2)))).code, ReplyCode::kOk);
  EXPECT_EQ(client.Ask(client.MakeChunk(NewFile(2, Random(kMiB)))).code, ReplyCode::kNoSpace);
}

TEST_F(Quotas, AHoleCountsThoughItTakesNoRoom) {
  Limit("alice/web", {.bytes = kMiB});
  auto client = ClientOf("alice/web");
  ASSERT_EQ(client.Greet().code, ReplyCode::kOk);
  const ObjectId id(9, 9);
  EXPECT_EQ(client
                .Ship({ObjectRecord{id, true, true, FileOf(uint64_t{1} << 40)},
                       EntryRecord{kRootObject, "hole", id}})
                .code,
            ReplyCode::kNoSpace);
}

TEST_F(Quotas, ObjectsAreCounted) {
  Limit("alice/web", {.objects = 3});
  auto client = ClientOf("alice/web");
  ASSERT_EQ(client.Greet().code, ReplyCode::kOk);
  for (uint64_t number = 1; number <= 3; ++number) {
    ASSERT_EQ(client.Ship(NewFile(number, "x")).code, ReplyCode::kOk);
  }
  const Reply reply = client.Ship(NewFile(4, "x"));
  EXPECT_EQ(reply.code, ReplyCode::kNoSpace);
  EXPECT_THAT(reply.message, HasSubstr("3 files and directories"));
  ASSERT_EQ(client.Ship(Removal(1)).code, ReplyCode::kOk);
  EXPECT_EQ(client.Ship(NewFile(4, "x")).code, ReplyCode::kOk);
}

TEST_F(Quotas, AStageOfEndlessRecordsIsRefused) {
  Limit("alice/web", {.objects = 3});
  auto client = ClientOf("alice/web");
  ASSERT_EQ(client.Greet().code, ReplyCode::kOk);
  ASSERT_EQ(client.Begin().code, ReplyCode::kOk);
  const std::vector<Record> records(kMaxChunkRecords,
                                    EntryRecord{kRootObject, "n", ObjectId(1, 1)});
  Reply reply;
  uint64_t chunks = 0;
  for (; reply.code == ReplyCode::kOk && chunks < 20; ++chunks) {
    reply = client.Ask(client.MakeChunk(records));
  }
  EXPECT_EQ(reply.code, ReplyCode::kNoSpace) << reply.message;
  EXPECT_EQ(chunks, kRecordsOfObject + 1);
}

TEST_F(Quotas, WhatMakesAVolumeSmallerPassesAboveTheQuota) {
  auto client = ClientOf("alice/web");
  ASSERT_EQ(client.Greet().code, ReplyCode::kOk);
  for (uint64_t number = 1; number <= 3; ++number) {
    ASSERT_EQ(client.Ship(NewFile(number, Random(kMiB))).code, ReplyCode::kOk);
  }
  Limit("alice/web", {.bytes = kMiB, .objects = 1});
  EXPECT_EQ(client.Ship(NewFile(4, "x")).code, ReplyCode::kNoSpace);
  EXPECT_EQ(client.Ship(Removal(1)).code, ReplyCode::kOk);
  EXPECT_EQ(ShipThin(client, Removal(2)).code, ReplyCode::kOk);
}

TEST_F(Quotas, FiguresAreRightAfterARestart) {
  auto client = ClientOf("alice/web");
  ASSERT_EQ(client.Greet().code, ReplyCode::kOk);
  ASSERT_EQ(client.Ship(NewFile(1, Random(2 * kMiB))).code, ReplyCode::kOk);
  for (const bool idle : {false, true}) {
    if (idle) {
      store_->CloseIdle({});
    } else {
      Restart();
      client.Use(*store_);
    }
    Limit("alice/mail", {.bytes = 3 * kMiB});
    auto other = ClientOf("alice/mail", "mail", VolumeId(2, 2));
    ASSERT_EQ(other.Greet().code, ReplyCode::kOk);
    EXPECT_EQ(other.Ship(NewFile(1, Random(2 * kMiB))).code, ReplyCode::kNoSpace);
  }
}

TEST_F(Quotas, VolumesAreCounted) {
  Limit("alice/web", {.volumes = 2});
  for (const char* name : {"a", "b"}) {
    ASSERT_EQ(ClientOf("alice/web", name).Greet().code, ReplyCode::kOk);
  }
  const Reply reply = ClientOf("alice/web", "c").Greet();
  EXPECT_EQ(reply.code, ReplyCode::kRefused);
  EXPECT_THAT(reply.message, HasSubstr("account alice may have 2 volumes"));
  EXPECT_EQ(ClientOf("alice/web", "a").Greet().code, ReplyCode::kOk);
  EXPECT_FALSE(std::filesystem::exists(At("alice/c")));
  Restart();
  EXPECT_EQ(ClientOf("alice/web", "c").Greet().code, ReplyCode::kRefused);
}

TEST_F(Quotas, AFloodOfVolumesIsSlowedDown) {
  AccountUsage usage("alice");
  const auto start = AccountUsage::Time() + std::chrono::hours(1);
  for (int i = 0; i < kVolumesAtOnce; ++i) EXPECT_FALSE(usage.RefuseVolume(1, start));
  EXPECT_TRUE(usage.RefuseVolume(1, start));
  EXPECT_FALSE(usage.RefuseVolume(1, start + std::chrono::seconds(1)));
  EXPECT_TRUE(usage.RefuseVolume(kMostVolumes + 1, start + std::chrono::hours(1)));
}

// ---- The reserve -------------------------------------------------------------------------------

TEST(ReserveOption, IsASizeOrAPart) {
  EXPECT_EQ(Reserve::Parse("4096").value().bytes, 4096u);
  EXPECT_EQ(Reserve::Parse("20G").value().bytes, uint64_t{20} << 30);
  EXPECT_EQ(Reserve::Parse("5%").value().percent, 5u);
  for (const char* wrong : {"", "G", "-1", "5 %", "100%", "1X", "99999999T", "1GG"}) {
    EXPECT_EQ(Reserve::Parse(wrong).error().kind(), ErrorKind::kUsage) << wrong;
  }
}

TEST_F(Quotas, TheReserveIsLeftFree) {
  auto client = ClientOf("alice/web");
  ASSERT_EQ(client.Greet().code, ReplyCode::kOk);
  ASSERT_EQ(client.Ship(NewFile(1, Random(kMiB))).code, ReplyCode::kOk);
  store_.reset();
  reserve_ = {uint64_t{1} << 60, 0};
  Start();
  client.Use(*store_);
  ASSERT_EQ(client.Greet().code, ReplyCode::kOk);
  const Reply reply = client.Ship(NewFile(2, "x"));
  EXPECT_EQ(reply.code, ReplyCode::kNoSpace);
  EXPECT_THAT(reply.message, HasSubstr("--reserve"));
  EXPECT_EQ(ShipThin(client, Removal(1)).code, ReplyCode::kOk) << "what makes room gets in";
}

}  // namespace
}  // namespace tandem::replica
