// What takes an account with the right to it: it is in the tree only of volumes that have the
// right, and all else of the same objects is in the tree of every volume.
#include "replica/apply/special_attributes.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include <cstring>
#include <fstream>

#include "replica/store/volume.h"
#include "tests/unit/replica_client.h"
#include "tests/unit/replica_model.h"

namespace tandem::replica {
namespace {

using meta::Kind;

std::string FileCapability() {
  vfs_cap_data capability = {};
  capability.magic_etc = VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE;
  capability.data[0].permitted = 1 << CAP_NET_RAW;
  return {reinterpret_cast<const char*>(&capability), XATTR_CAPS_SZ_2};
}

class SpecialAttributes : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root: sets owners, devices and trusted.*";
    Open(/*make=*/true);
  }
  void Open(bool make) {
    const VolumeIdentity identity{VolumeId(1, 1), "vol"};
    UniqueFd fd(open(scratch_.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (make) {
      ASSERT_TRUE(Volume::Prepare(fd.get(), identity));
    }
    auto volume = Volume::Open(std::move(fd), scratch_.path(), identity);
    ASSERT_TRUE(volume) << volume.error().ToString();
    volume_ = std::move(*volume);
  }
  void Restart() {
    volume_.reset();
    Open(/*make=*/false);
  }
  void Allow(bool special) {
    const auto set = volume_->SetPolicy({.may_set_special = special});
    ASSERT_TRUE(set) << set.error().ToString();
    Greet();
  }
  void Hear(const Reply& reply) {
    ASSERT_EQ(reply.code, ReplyCode::kOk) << reply.message;
    position_ = std::get<Position>(reply.body);
    EXPECT_EQ(position_.notice.find("another program"), std::string::npos) << position_.notice;
  }
  void Greet() {
    Hear(volume_->Greet({1, 1, "vol", VolumeId(1, 1), "test"}, nullptr));
    session_ = position_.session;
  }
  Reply Ask(RequestBody body) { return volume_->Handle({session_, std::move(body)}, nullptr); }
  // Ships the records without waiting until they are applied.
  CutName Commit(const std::vector<Record>& records) {
    const CutId stage = CutId::Random();
    Chunk chunk{.stage = stage, .sequence = 0, .payload = EncodeRecords(records)};
    chunk.checksum = ChecksumOf(chunk.payload);
    const CutName base = position_.durable;
    const CutName cut{base.epoch.Next(), CutId(5, base.epoch.number() + 1)};
    const uint64_t in_order = htole64(chunk.checksum);
    const std::string digested(reinterpret_cast<const char*>(&in_order), sizeof in_order);
    EXPECT_EQ(Ask(Begin{stage, base}).code, ReplyCode::kOk);
    EXPECT_EQ(Ask(chunk).code, ReplyCode::kOk);
    const Reply reply = Ask(replica::Commit{stage, base, cut, 12345, 1, ChecksumOf(digested)});
    EXPECT_EQ(reply.code, ReplyCode::kOk) << reply.message;
    return cut;
  }
  void Ship(const std::vector<Record>& records) {
    const CutName cut = Commit(records);
    do Hear(Ask(WaitApplied{cut, 1000}));
    while (position_.applied != cut);
  }
  void Cut() {
    Ship(RecordsBetween(shipped_, model_, random_));
    shipped_ = model_;
  }
  // As the source does with objects that fall short.
  void ShipShortObjects() {
    Model without = model_;
    for (const ShortObject& object : position_.short_objects) without.objects.erase(object.object);
    Ship(RecordsBetween(without, model_, random_));
  }
  std::string Tree() const { return scratch_.path() + "/tree"; }
  struct stat On(const std::string& path) const {
    struct stat found = {};
    EXPECT_EQ(lstat((Tree() + "/" + path).c_str(), &found), 0) << path;
    return found;
  }
  std::string XattrOn(const std::string& path, const char* name) const {
    char value[256];
    const ssize_t size = lgetxattr((Tree() + "/" + path).c_str(), name, value, sizeof value);
    return size < 0 ? strerror(errno) : std::string(value, static_cast<size_t>(size));
  }
  void MakeOneOfEach() {
    model_.Make("setuid", Kind::kFile, "program");
    model_.Change("setuid", 04755, 1000, {{"user.a", "b"}});
    model_.Make("setgid", Kind::kFile, "program");
    model_.Change("setgid", 02755, 1000, {});
    model_.Make("capable", Kind::kFile, "program");
    model_.Change("capable", 0755, 0, {{"security.capability", FileCapability()}});
    model_.Make("trusted", Kind::kFile, "program");
    model_.Change("trusted", 0644, 0, {{"trusted.a", "b"}, {"user.a", "b"}});
    const ObjectId device = model_.Make("device", Kind::kCharDevice);
    model_.objects.at(device).attributes.device = makedev(1, 3);
    model_.Make("directory", Kind::kDirectory);
    model_.Change("directory", 02775, 0, {});
  }
  void ExpectAllIsThere() {
    EXPECT_EQ(position_.short_count, 0u);
    EXPECT_EQ(position_.notice, "");
    EXPECT_EQ(Difference(PictureOf(model_), PictureOf(Tree())), "");
  }
  void ExpectNothingSpecial() {
    EXPECT_EQ(On("setuid").st_mode, mode_t{S_IFREG | 0755});
    EXPECT_EQ(On("setuid").st_uid, 1000u);
    EXPECT_EQ(XattrOn("setuid", "user.a"), "b");
    EXPECT_EQ(On("setgid").st_mode, mode_t{S_IFREG | 0755});
    EXPECT_EQ(XattrOn("capable", "security.capability"), strerror(ENODATA));
    EXPECT_EQ(XattrOn("trusted", "trusted.a"), strerror(ENODATA));
    EXPECT_EQ(XattrOn("trusted", "user.a"), "b");
    EXPECT_TRUE(S_ISREG(On("device").st_mode));
    EXPECT_EQ(On("device").st_size, 0);
    // It gives nobody power over this host.
    EXPECT_EQ(On("directory").st_mode, mode_t{S_IFDIR | 02775});
  }
  // What verify compares with, and what a promotion would set.
  void ExpectTheTruthInTheCatalog() {
    Find find;
    find.objects = {model_.At("setuid"), model_.At("capable"), model_.At("device")};
    find.origin = Origin::kDatabase;
    find.with_xattrs = true;
    const Reply reply = Ask(find);
    ASSERT_EQ(reply.code, ReplyCode::kOk) << reply.message;
    const auto& found = std::get<Found>(reply.body).objects;
    EXPECT_EQ(found[0].attributes.permissions, 04755u);
    EXPECT_EQ(found[1].attributes.xattrs.at("security.capability"), FileCapability());
    EXPECT_EQ(found[2].attributes.kind, Kind::kCharDevice);
    EXPECT_EQ(found[2].attributes.device, makedev(1, 3));
  }

  ScratchDirectory scratch_;
  std::unique_ptr<Volume> volume_;
  Model model_;
  Model shipped_ = Model::Nothing();
  Position position_;
  SessionId session_;
  std::mt19937 random_{815};
};

TEST_F(SpecialAttributes, AreSetForAnAccountThatMay) {
  Allow(true);
  MakeOneOfEach();
  Cut();
  ExpectAllIsThere();
}

TEST_F(SpecialAttributes, AreWithheldFromAnAccountThatMayNotAndStandInTheCatalog) {
  Allow(false);
  MakeOneOfEach();
  Cut();
  ExpectNothingSpecial();
  ExpectTheTruthInTheCatalog();
  EXPECT_EQ(position_.short_count, 0u);
  EXPECT_NE(position_.notice.find("attributes of 5 objects are not set"), std::string::npos)
      << position_.notice;
  // Increments go on, also to what lacks something.
  model_.Write("setuid", 0, "PROGRAM");
  model_.Write("trusted", 0, "PROGRAM");
  model_.Change("setuid", 06711, 1001, {});
  Cut();
  EXPECT_EQ(On("setuid").st_mode, mode_t{S_IFREG | 0711});
  EXPECT_EQ(On("setuid").st_uid, 1001u);
  model_.Remove("device");
  model_.Change("setuid", 0711, 1001, {});
  Cut();
  EXPECT_NE(position_.notice.find("attributes of 3 objects"), std::string::npos)
      << position_.notice;
}

TEST_F(SpecialAttributes, AreWithheldByTheRedoAfterARestartToo) {
  Allow(false);
  MakeOneOfEach();
  Commit(RecordsBetween(shipped_, model_, random_));
  Restart();  // before any source has said who it is
  const auto redone = [this] { return !std::filesystem::is_empty(Tree()); };
  for (int i = 0; i < 1000 && !redone(); ++i) usleep(10'000);
  Greet();
  do Hear(Ask(WaitApplied{position_.durable, 1000}));
  while (position_.applied != position_.durable);
  ExpectNothingSpecial();
}

TEST_F(SpecialAttributes, AreSetWhenTheAccountGetsTheRight) {
  Allow(false);
  MakeOneOfEach();
  Cut();
  ExpectNothingSpecial();
  Restart();
  Allow(true);
  // The source is asked for them, and for nothing else.
  EXPECT_EQ(position_.short_count, 5u);
  ExpectNothingSpecial();
  ShipShortObjects();
  ExpectAllIsThere();
}

TEST_F(SpecialAttributes, AreTakenAwayAtTheNextChangeOfAnAccountThatLostTheRight) {
  Allow(true);
  MakeOneOfEach();
  Cut();
  Allow(false);
  for (const std::string path : {"setuid", "setgid", "capable", "trusted", "device"}) {
    model_.objects.at(model_.At(path)).attributes.modify_time.seconds += 1;
  }
  Model without = model_;
  without.objects.erase(model_.At("device"));
  Ship(RecordsBetween(without, model_, random_));
  Cut();
  ExpectNothingSpecial();
}

TEST_F(SpecialAttributes, OfAnUnreadableFileOfRightsNothingIsAllowed) {
  volume_.reset();
  std::ofstream(scratch_.path() + "/rights") << "nonsense";
  Open(/*make=*/false);
  Greet();
  MakeOneOfEach();
  Cut();
  ExpectNothingSpecial();
}

}  // namespace
}  // namespace tandem::replica
