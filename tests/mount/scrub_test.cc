// tandemd scrub: what the disk or another program has done to a replica is found without the
// source, and nothing else is; the source mends it.
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "meta/base/database.h"
#include "replica/apply/catalog.h"
#include "tests/files.h"
#include "tests/loop_disk.h"
#include "tests/mount_fixture.h"

namespace tandem::test {
namespace {

namespace stdfs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr uint64_t kBlock = 128 << 10;
constexpr int kAsApplied = 0;
constexpr int kDamaged = 4;

// Returns "kind: path" of each difference, sorted.
std::vector<std::string> Found(const Outcome& outcome) {
  std::vector<std::string> found;
  std::istringstream lines(outcome.out);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("volume ")) continue;
    found.push_back(line.substr(0, line.find(": ", line.find(": ") + 2)));
  }
  std::ranges::sort(found);
  return found;
}

// Changes a byte, and nothing else that can be seen.
void FlipByte(const std::string& path, uint64_t offset) {
  const struct stat before = Lstat(path);
  std::string byte = ReadAt(path, offset, 1);
  byte[0] = static_cast<char>(byte[0] ^ 1);
  WriteAt(path, offset, byte);
  SetTimes(path, before.st_atim, before.st_mtim);
}

// Makes of the catalog at `path` what a version without digests (schema 5) left.
Status ReturnToBeforeDigests(const std::string& path) {
  ASSIGN_OR_RETURN(Database database, Database::Open(path, Database::Sync::kFull));
  RETURN_IF_ERROR(
      database.Execute("DROP TABLE digest; DROP TABLE damaged; DROP TABLE scrubbed;"
                       "DROP TABLE standing"));
  return database.SetUserVersion(5);
}

class Scrub : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped()) return;
    MakeEveryKind(source_);
    Write(source_ + "/small", "a few bytes");
    Write(source_ + "/large", RandomBytes(3 << 20, 1));
    stdfs::create_directory(source_ + "/d");
    Write(source_ + "/d/x", RandomBytes(5000, 2));
    Write(source_ + "/d/y", RandomBytes(300'000, 3));
    stdfs::create_hard_link(source_ + "/d/x", source_ + "/d/x2");
    ASSERT_TRUE(StartBoth());
    ASSERT_TRUE(mount_.Sync());
  }

  std::string Tree(const std::string& path = "") const { return replica_.tree() + path; }
  Outcome Run(std::vector<std::string> more = {}) const {
    std::vector<std::string> command = {Program("tandemd"), "scrub", replica_.store()};
    command.insert(command.end(), more.begin(), more.end());
    return Execute(std::move(command));
  }
  ::testing::AssertionResult IsAsApplied() {
    const Outcome outcome = Run();
    if (outcome.code == kAsApplied && Found(outcome).empty() &&
        outcome.out.find("unknown") == std::string::npos) {
      return ::testing::AssertionSuccess();
    }
    return ::testing::AssertionFailure() << outcome;
  }
  bool IsMended() {
    return WaitFor([this] { return Run().code == kAsApplied; });
  }
  void Damage() {
    FlipByte(Tree("/large"), 2 * kBlock + 77);
    stdfs::resize_file(Tree("/d/y"), 200'000);
    chmod(Tree("/small").c_str(), 0611);
    const struct stat d = Lstat(Tree("/d"));
    stdfs::remove(Tree("/d/x2"));
    Write(Tree("/d/extra"), "not the replica's");
    SetTimes(Tree("/d"), d.st_atim, d.st_mtim);
  }
  static auto IsWhatWasDamaged() {
    return ElementsAre("attribute: d/y", "attribute: small", "content: large", "name: d/extra",
                       "name: d/x2");
  }
};

TEST_F(Scrub, OfACleanReplicaFindsNothing) {
  EXPECT_TRUE(IsAsApplied());
  ChangeEveryKind(mount_.path());
  ASSERT_TRUE(mount_.Sync());
  EXPECT_TRUE(IsAsApplied());
  ASSERT_TRUE(replica_.Stop());
  EXPECT_TRUE(IsAsApplied());
  EXPECT_EQ(Execute({Program("tandemd"), "scrub", replica_.store() + "/" + kVolume}).code,
            kAsApplied);
}

TEST_F(Scrub, WithoutADaemonFindsExactlyWhatWasDamagedAndTheNextConnectionMendsIt) {
  ASSERT_TRUE(replica_.Stop());
  Damage();
  const Outcome outcome = Run();
  EXPECT_EQ(outcome.code, kDamaged);
  EXPECT_THAT(Found(outcome), IsWhatWasDamaged()) << outcome;
  EXPECT_THAT(outcome.out, HasSubstr("content: large: 1 of 24 blocks"));
  const Json json = Json::parse(Run({"--json"}).out);
  EXPECT_EQ(json[0]["volume"], kVolume);
  EXPECT_EQ(json[0]["difference_count"], 5);
  ASSERT_TRUE(replica_.Start());
  EXPECT_TRUE(
      WaitFor([this] { return Found(Run()) == std::vector<std::string>{"name: d/extra"}; }));
  EXPECT_TRUE(stdfs::exists(Tree("/d/extra"))) << "it is left";
  stdfs::remove(Tree("/d/extra"));
  EXPECT_LT(mount_.Verify({"--repair"}).code, kDamaged);
  EXPECT_TRUE(Converges());
  EXPECT_TRUE(IsMended());
}

TEST_F(Scrub, ThroughTheDaemonIsMendedWithoutAChangeOfTheSource) {
  const uint64_t before = mount_.SentBytes();
  Damage();
  stdfs::remove(Tree("/d/extra"));
  const Outcome outcome = Run();
  EXPECT_EQ(outcome.code, kDamaged);
  EXPECT_THAT(Found(outcome), ElementsAre("attribute: d", "attribute: d/y", "attribute: small",
                                          "content: large", "name: d/x2"))
      << outcome;
  EXPECT_TRUE(IsMended());
  EXPECT_TRUE(Converges());
  EXPECT_LT(mount_.SentBytes() - before, 1u << 20) << "only the block, of the large file";
  EXPECT_EQ(mount_.Verify({"--full"}).code, 0);
  EXPECT_TRUE(WaitFor([this] {
    return mount_.ReplicaStatus().value("notice", "").find("after a scrub") == std::string::npos;
  }));
}

TEST_F(Scrub, WhatIsRemovedReplacedOrMovedComesBack) {
  stdfs::remove(Tree("/small"));
  stdfs::rename(Tree("/d/y"), Tree("/moved"));
  stdfs::remove_all(Tree("/d"));
  const Outcome outcome = Run();
  EXPECT_EQ(outcome.code, kDamaged);
  EXPECT_THAT(Found(outcome), ElementsAre("attribute: .", "name: d", "name: moved", "name: small"))
      << outcome;
  // A source with nothing to do hears of the damage with its next heartbeat, or when it is asked.
  EXPECT_TRUE(WaitFor([this] {
    (void)mount_.State();
    return stdfs::exists(Tree("/d/y")) && stdfs::exists(Tree("/small"));
  }));
  stdfs::remove(Tree("/moved"));
  EXPECT_TRUE(WaitFor([this] {
    Run();  // the root's time
    (void)mount_.State();
    return SameTrees(source_, Tree());
  }));
  EXPECT_TRUE(IsMended());
}

TEST_F(Scrub, AWriteBlessesNoRot) {
  FlipByte(Tree("/large"), 5 * kBlock + 1000);
  FlipByte(Tree("/large"), 7 * kBlock + 1000);
  // Into the one block in part, and a whole one beside the other.
  WriteAt(mount_.path() + "/large", 5 * kBlock + 8192, RandomBytes(4096, 9));
  WriteAt(mount_.path() + "/large", 8 * kBlock, RandomBytes(kBlock, 10));
  EXPECT_TRUE(WaitFor([this] {
    return replica_.process().err().find("large: content was not what") != std::string::npos;
  })) << "the write has shown it";
  EXPECT_TRUE(mount_.WaitForState("current"));
  EXPECT_TRUE(WaitFor([this] { return mount_.Tandem("sync").code == 0; }));
  const Outcome outcome = Run();
  EXPECT_EQ(outcome.code, kDamaged);
  EXPECT_THAT(Found(outcome), ElementsAre("content: large"));
  EXPECT_THAT(outcome.out, HasSubstr("1 of 24 blocks"));
  EXPECT_THAT(outcome.out, HasSubstr("unknown"));
  EXPECT_TRUE(IsMended());
  EXPECT_FALSE(IsAsApplied()) << "the block that was written in part is unknown";
  (void)Run({"--unknown"});
  EXPECT_TRUE(WaitFor([this] { return static_cast<bool>(IsAsApplied()); }));
  EXPECT_TRUE(Converges());
}

TEST_F(Scrub, WhatIsShownDamagedIsToldUntilItIsMended) {
  ASSERT_EQ(mount_.Tandem("pause").code, 0);
  ASSERT_TRUE(mount_.WaitForState("paused"));
  FlipByte(Tree("/large"), 5);
  EXPECT_EQ(Run().code, kDamaged);
  const auto told = [this](const std::string& what) {
    return mount_.ReplicaStatus().value("notice", "").find(what) != std::string::npos;
  };
  EXPECT_TRUE(WaitFor([&] { return told("sent again after a scrub (such as large: "); }));
  // It lasts.
  replica_.Kill();
  ASSERT_TRUE(replica_.Start());
  EXPECT_EQ(Run().code, kDamaged);
  ASSERT_EQ(mount_.Tandem("resume").code, 0);
  EXPECT_TRUE(IsMended());
  EXPECT_TRUE(WaitFor([&] { return !told("after a scrub"); }));
  EXPECT_TRUE(Converges());
}

TEST_F(Scrub, ContentFromBeforeDigestsIsUnknownUntilTheSourceSendsItAgain) {
  ASSERT_TRUE(replica_.Stop());
  ASSERT_TRUE(ReturnToBeforeDigests(replica_.store() + "/" + kVolume + "/replica.db"));
  FlipByte(Tree("/large"), 3 * kBlock);
  ASSERT_TRUE(replica_.Start());
  const Outcome outcome = Run();
  EXPECT_EQ(outcome.code, kAsApplied);
  EXPECT_THAT(outcome.out, HasSubstr("no damage found"));
  EXPECT_THAT(outcome.out, HasSubstr(" have no digest to compare with"));
  WriteAt(mount_.path() + "/large", 3 * kBlock + 9000, "a part of a block");
  ASSERT_TRUE(mount_.Sync());
  EXPECT_EQ(Run({"--unknown"}).code, kAsApplied);
  EXPECT_TRUE(WaitFor([this] { return IsAsApplied(); }));
  EXPECT_TRUE(Converges());
}

TEST_F(Scrub, ByScheduleFindsDamageAndRemembersWhenItLooked) {
  ASSERT_TRUE(replica_.Stop());
  FlipByte(Tree("/large"), 100);
  replica_.more() = {"--scrub-every", "3s", "--scrub-rate", "100M"};
  ASSERT_TRUE(replica_.Start());
  const auto logged = [this](const std::string& what) {
    return WaitFor([&] { return replica_.process().err().find(what) != std::string::npos; });
  };
  EXPECT_TRUE(logged("content: large: 1 of 24 blocks"));
  EXPECT_TRUE(logged("scrub: no damage found")) << "it is mended";
  ASSERT_TRUE(replica_.Stop());
  const auto catalog =
      replica::Catalog::Open(replica_.store() + "/" + kVolume + "/replica.db").value();
  EXPECT_TRUE(catalog->damaged().ScrubbedAt().value().has_value());
}

// A container may lack the capability, and a server of NFS refuse.
TEST_F(Scrub, WhereOwnersCannotBeSetAsksForNone) {
  replica_.Move({"setpriv", "--bounding-set=-chown", "--inh-caps=-all"}, replica_.url());
  ASSERT_TRUE(replica_.Stop());
  ASSERT_TRUE(replica_.Start());
  Write(mount_.path() + "/foreign", "somebody's");
  ASSERT_EQ(0, chown((mount_.path() + "/foreign").c_str(), 1234, 4321));
  ASSERT_TRUE(mount_.Sync());
  ASSERT_EQ(Lstat(Tree("/foreign")).st_uid, 0U);
  EXPECT_TRUE(IsAsApplied());
  ASSERT_TRUE(replica_.Stop());
  ASSERT_TRUE(replica_.Start());
  EXPECT_TRUE(IsAsApplied()) << "what could not be set is not remembered";
  chmod(Tree("/small").c_str(), 0611);
  EXPECT_THAT(Found(Run()), ElementsAre("attribute: small"));
}

TEST_F(Scrub, OfABusyReplicaGivesNoFalseAlarm) {
  Process workload(Workload(mount_.path(), FreshSeed(), {"--ops", "2500", "--threads", "2"}));
  int scrubs = 0;
  while (workload.running()) {
    const Outcome outcome = Run();
    EXPECT_EQ(outcome.code, kAsApplied) << outcome;
    EXPECT_THAT(Found(outcome), IsEmpty());
    ++scrubs;
  }
  EXPECT_EQ(workload.Wait(), 0) << workload.err();
  EXPECT_GT(scrubs, 0);
  EXPECT_TRUE(Converges());
  EXPECT_TRUE(IsAsApplied());
}

TEST_F(Scrub, HoldsUpNoCut) {
  for (int i = 0; i < 3000; ++i) {
    Write(mount_.path() + "/d/" + std::to_string(i), "one of many small files");
  }
  ASSERT_TRUE(mount_.Sync());
  const std::string scrub = Program("tandemd") + " scrub " + replica_.store();
  Process scrubs(Launch{{"sh", "-c", "while " + scrub + "; do :; done"}});
  for (int i = 0; i < 50; ++i) {
    const auto begun = Clock::now();
    Write(mount_.path() + "/small", std::to_string(i));
    EXPECT_TRUE(WaitFor([&] { return Read(Tree("/small")) == std::to_string(i); }));
    EXPECT_LT(Clock::now() - begun, seconds(5));
  }
  EXPECT_TRUE(scrubs.running()) << scrubs.out() << scrubs.err();
  scrubs.Signal(SIGKILL);
  scrubs.Wait();
}

TEST_F(Scrub, AfterADaemonWasKilledInMidRedoGivesNoFalseAlarm) {
  uint64_t sent = 0;
  for (int round = Times(4, 20); round > 0; --round) {
    Process workload(Workload(mount_.path(), FreshSeed(), {"--ops", "600", "--threads", "2"}));
    // So that it is being applied.
    WaitFor([&] { return mount_.SentBytes() > sent || !workload.running(); });
    sent = mount_.SentBytes();
    replica_.Kill();
    const Outcome outcome = Run();
    EXPECT_EQ(outcome.code, kAsApplied) << outcome;
    ASSERT_TRUE(replica_.Start());
    EXPECT_EQ(workload.Wait(), 0) << workload.err();
    ASSERT_TRUE(mount_.Sync());
    const Outcome after = Run();
    EXPECT_EQ(after.code, kAsApplied) << after;
  }
  EXPECT_TRUE(Converges());
}

TEST_F(Scrub, WhatIsDamagedAsAWholeAndCannotBeComparedNowIsToldUntilItIsMended) {
  ASSERT_TRUE(replica_.Stop());
  const std::string catalog = replica_.store() + "/" + kVolume + "/replica.db";
  ASSERT_TRUE(ReturnToBeforeDigests(catalog));
  const struct stat before = Lstat(Tree("/large"));
  FlipByte(Tree("/large"), 5);
  SetTimes(Tree("/large"), before.st_atim, {});
  EXPECT_THAT(Found(Run()), ElementsAre("attribute: large"));
  SetTimes(Tree("/large"), before.st_atim, before.st_mtim);
  EXPECT_EQ(Run().code, kAsApplied) << "nobody knows what is in it";
  EXPECT_EQ(replica::Catalog::Open(catalog).value()->damaged().Count().value(), 1U);
  ASSERT_TRUE(replica_.Start());
  // It is away for a moment while another takes its place.
  EXPECT_TRUE(WaitFor([this] {
    std::ifstream now(Tree("/large"), std::ios::binary);
    std::ostringstream content;
    content << now.rdbuf();
    return content.str() == Read(source_ + "/large");
  }));
}

// ---- A disk that is damaged --------------------------------------------------------------------

// ext4 refuses inodes and directories whose checksum is wrong.
class ScrubOfADamagedDisk : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped()) return;
    ASSERT_TRUE(disk_.Make(128 << 20));
    Write(source_ + "/file", RandomBytes(3 * kBlock, 1));
    stdfs::create_symlink(kTarget, source_ + "/link");
    stdfs::create_directory(source_ + "/closed");
    Write(source_ + "/closed/" + kName, RandomBytes(kBlock, 2));
    ASSERT_EQ(0,
              setxattr((source_ + "/closed").c_str(), "user.x", kValue.data(), kValue.size(), 0));
    Write(source_ + "/marked", "marked");
    ASSERT_EQ(0, setxattr((source_ + "/marked").c_str(), "user.x", kLargeValue.data(),
                          kLargeValue.size(), 0));
    mount_.options().replicas = {"one=" + store_.url()};
    stdfs::create_directory(store_.store());
    ASSERT_TRUE(store_.Start());
    ASSERT_TRUE(mount_.Start());
    ASSERT_TRUE(mount_.Sync());
    ASSERT_TRUE(store_.Stop());
  }
  void TearDown() override { mount_.Kill(); }

  Outcome Run() const { return Execute({Program("tandemd"), "scrub", store_.store()}); }

  uint64_t DamagedCount() const {
    const auto catalog = replica::Catalog::Open(store_.store() + "/" + kVolume + "/replica.db");
    return catalog.value()->damaged().Count().value();
  }

  const std::string kName = "a name that stands nowhere else on disk";
  // These stand in the inodes, and there zeros are beside them.
  const std::string kTarget = "a target that stands nowhere else on this disk, 48";
  const std::string kValue = "a value that stands nowhere else on disk";
  const std::string kLargeValue = RandomBytes(400, 4);
  const std::string kZeros = std::string(8, '\0');
  LoopDisk disk_{scratch_, "disk", "ext4", scratch_.Directory("disk")};
  ReplicaDaemon store_{scratch_, "store", disk_.directory() + "/s"};
};

TEST_F(ScrubOfADamagedDisk, PassesOverWhatCannotBeRead) {
  WriteAt(store_.tree() + "/closed/" + kName, 5, "rot");
  EXPECT_EQ(Run().code, kDamaged);
  ASSERT_TRUE(disk_.Damage(kTarget + kZeros));
  ASSERT_TRUE(disk_.Damage(kZeros + kValue));
  FlipByte(store_.tree() + "/file", 2 * kBlock);
  const Outcome outcome = Run();
  EXPECT_EQ(outcome.code, kDamaged) << outcome;
  EXPECT_THAT(Found(outcome),
              ElementsAre("content: file", "unreadable: closed", "unreadable: link"))
      << outcome;
  EXPECT_EQ(DamagedCount(), 2U) << "what was found before is not forgotten";
}

TEST_F(ScrubOfADamagedDisk, HasSentAgainWhatCannotBeReadAndCanBeReplaced) {
  ASSERT_TRUE(disk_.Damage(kZeros + kLargeValue));
  ASSERT_TRUE(disk_.Damage(kTarget + kZeros));
  const Outcome outcome = Run();
  EXPECT_EQ(outcome.code, kDamaged) << outcome;
  EXPECT_THAT(Found(outcome), ElementsAre("unreadable: link", "unreadable: marked")) << outcome;
  ASSERT_TRUE(store_.Start());
  EXPECT_TRUE(WaitFor([&] { return Found(Run()) == std::vector<std::string>{"unreadable: link"}; }))
      << store_.process().err();
  Write(mount_.path() + "/new", "new");
  EXPECT_TRUE(WaitFor([&] { return stdfs::exists(store_.tree() + "/new"); }));
}

TEST_F(ScrubOfADamagedDisk, PassesOverADirectoryThatCannotBeListed) {
  // As it stands in the directory.
  ASSERT_TRUE(disk_.Damage(static_cast<char>(kName.size()) + std::string(1, '\1') + kName));
  const Outcome outcome = Run();
  EXPECT_EQ(outcome.code, kDamaged) << outcome;
  EXPECT_THAT(Found(outcome), ElementsAre("unreadable: closed", "unreadable: closed/" + kName))
      << outcome;
}

TEST_F(Scrub, OfWhatIsNoStoreIsRefused) {
  EXPECT_EQ(Execute({Program("tandemd"), "scrub", source_}).code, 16);
  EXPECT_EQ(Execute({Program("tandemd"), "scrub"}).code, 16);
  EXPECT_EQ(Run({"--rate", "much"}).code, 16);
}

}  // namespace
}  // namespace tandem::test
