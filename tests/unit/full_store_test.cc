// A store on a disk that is full, and where others take whatever becomes free: what is removed at
// the source is removed, and what there is no room to apply is not committed.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "meta/base/unique_fd.h"
#include "replica/apply/marker.h"
#include "tests/competitor.h"
#include "tests/files.h"
#include "tests/loop_disk.h"
#include "tests/process.h"
#include "tests/scratch.h"
#include "tests/unit/failing_calls.h"
#include "tests/unit/replica_client.h"

namespace tandem::replica {
namespace {

namespace stdfs = std::filesystem;

using test::kMiB;
constexpr uint64_t kRecordBytes = 1 * kMiB;

meta::Attributes FileOf(uint64_t size) {
  meta::Attributes attributes;
  attributes.kind = meta::Kind::kFile;
  attributes.permissions = 0644;
  attributes.size = size;
  return attributes;
}

std::vector<Record> Content(ObjectId id, uint64_t offset, uint64_t length, char byte) {
  std::vector<Record> records;
  for (uint64_t at = offset; at < offset + length; at += kRecordBytes) {
    const uint64_t piece = std::min(kRecordBytes, offset + length - at);
    records.push_back(
        DataRecord{id, at, piece, Encoding::kLiteral, std::string(piece, byte), {}, 0, 0, 0});
  }
  return records;
}

ObjectId IdOf(const std::string& name) { return {7, std::hash<std::string>()(name)}; }

std::vector<Record> NewFile(const std::string& name, uint64_t size) {
  std::vector<Record> records = Content(IdOf(name), 0, size, 'a');
  records.insert(records.begin(), ObjectRecord{IdOf(name), true, true, FileOf(size)});
  records.push_back(EntryRecord{kRootObject, name, IdOf(name)});
  return records;
}

std::vector<Record> Changed(const std::string& name, uint64_t offset, uint64_t length) {
  std::vector<Record> records = Content(IdOf(name), offset, length, 'b');
  records.push_back(ObjectRecord{IdOf(name), false, false, FileOf(offset + length)});
  return records;
}

std::vector<Record> Removed(const std::string& name) {
  return {EntryRecord{kRootObject, name, ObjectId()}};
}

class FullStore : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root, for a filesystem of its own";
    disk_ =
        std::make_unique<test::LoopDisk>(scratch_, "store", GetParam(), scratch_.Directory("disk"));
    ASSERT_TRUE(disk_->Make((GetParam() == std::string("xfs") ? 320 : 96) * kMiB));
    Start();
    client_ = std::make_unique<ReplicaClient>(*store_);
    ASSERT_EQ(client_->Greet().code, ReplyCode::kOk);
  }
  void TearDown() override {
    test::RefuseMarkers(0);
    store_.reset();
    disk_.reset();
  }
  void Start() { store_ = Store::Open(disk_->directory() + "/store").value(); }
  void Restart() {
    store_.reset();
    Start();
    client_->Use(*store_);
  }
  ReplyCode Ship(const std::vector<Record>& records) { return client_->Ship(records, 4).code; }
  std::string InTree(const std::string& name) const {
    return disk_->directory() + "/store/vol/tree/" + name;
  }
  std::optional<Marker> MarkerNow() const {
    const UniqueFd fd(open((disk_->directory() + "/store/vol").c_str(), O_RDONLY | O_DIRECTORY));
    return ReadMarker(fd.get());
  }
  // Leaves so much free.
  void Fill(uint64_t left) {
    const UniqueFd fd(open(Filler().c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    struct statvfs room = {};
    ASSERT_EQ(fstatvfs(fd.get(), &room), 0);
    const uint64_t free = room.f_bfree * room.f_frsize;
    ASSERT_GT(free, left);
    ASSERT_EQ(fallocate(fd.get(), 0, 0, static_cast<off_t>(free - left)), 0) << strerror(errno);
  }
  std::string Filler() const { return disk_->directory() + "/filler"; }
  // Does not wait until it is applied.
  ReplyCode CommitOnly(const std::vector<Record>& records, CutName cut) {
    if (const auto begun = client_->Begin(); begun.code != ReplyCode::kOk) return begun.code;
    if (const Reply taken = client_->Ask(client_->MakeChunk(records));
        taken.code != ReplyCode::kOk) {
      return taken.code;
    }
    return client_->Commit(cut).code;
  }

  // Though both files that are kept for it may be in use.
  bool Commits(const std::vector<Record>& records, CutName cut) {
    return test::WaitFor([&] { return CommitOnly(records, cut) == ReplyCode::kOk; });
  }
  // Though it may find no room at first.
  bool Applies(CutName cut) {
    return test::WaitFor([&] { return client_->WaitApplied(cut).code == ReplyCode::kOk; });
  }

  test::Scratch scratch_;
  std::unique_ptr<test::LoopDisk> disk_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<ReplicaClient> client_;
};

TEST_P(FullStore, AppliesRemovalsWhateverOthersTake) {
  for (const char* name : {"1", "2", "3", "4", "5", "6"}) {
    ASSERT_EQ(Ship(NewFile(name, 2 * kMiB)), ReplyCode::kOk);
  }
  Restart();
  ASSERT_EQ(client_->Greet().code, ReplyCode::kOk);
  const test::Competitor competitor(disk_->directory() + "/others");
  EXPECT_EQ(Ship(NewFile("new", 2 * kMiB)), ReplyCode::kNoSpace);
  for (const char* name : {"1", "2", "3"}) {
    const CutName cut = client_->NextCut();
    ASSERT_TRUE(Commits(Removed(name), cut)) << name;
    ASSERT_TRUE(Applies(cut));
    EXPECT_FALSE(stdfs::exists(InTree(name)));
    EXPECT_EQ(MarkerNow()->state, TreeState::kApplied);
  }
  Restart();
  ASSERT_EQ(client_->Greet().code, ReplyCode::kOk);
  const CutName cut = client_->NextCut();
  ASSERT_TRUE(Commits(Removed("4"), cut));
  EXPECT_TRUE(Applies(cut));
  EXPECT_TRUE(stdfs::exists(InTree("6")));
}

TEST_P(FullStore, AppliesSmallNewFilesWhateverOthersTake) {
  ASSERT_EQ(Ship(NewFile("large", 4 * kMiB)), ReplyCode::kOk);
  const test::Competitor competitor(disk_->directory() + "/others");
  const CutName cut = client_->NextCut();
  std::vector<Record> records = NewFile("new", 4096);
  for (const auto& part : {NewFile("empty", 0), NewFile("small", 6), Removed("large")}) {
    records.insert(records.end(), part.begin(), part.end());
  }
  ASSERT_TRUE(Commits(records, cut));
  ASSERT_TRUE(Applies(cut));
  EXPECT_FALSE(stdfs::exists(InTree("large")));
  EXPECT_EQ(stdfs::file_size(InTree("empty")), 0u);
  std::ifstream small(InTree("small"));
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(small), {}), "aaaaaa");
  EXPECT_EQ(stdfs::file_size(InTree("new")), 4096u);
}

TEST_P(FullStore, AppliesTruncationsWhateverOthersTake) {
  ASSERT_EQ(Ship(NewFile("f", 4 * kMiB)), ReplyCode::kOk);
  const test::Competitor competitor(disk_->directory() + "/others");
  const CutName cut = client_->NextCut();
  ASSERT_TRUE(Commits(Changed("f", 5, 0), cut));
  // On xfs a block of it may be the stage's as well, until that has gone.
  ASSERT_TRUE(Applies(cut));
  EXPECT_EQ(stdfs::file_size(InTree("f")), 5u);
}

TEST_P(FullStore, CommitsNothingThatThereIsNoRoomToApply) {
  ASSERT_EQ(Ship(NewFile("f", 100)), ReplyCode::kOk);
  const CutName before = client_->base();
  Fill(15 * kMiB);
  EXPECT_EQ(Ship(Changed("f", 100, 10 * kMiB)), ReplyCode::kNoSpace);
  EXPECT_EQ(MarkerNow()->state, TreeState::kApplied);
  EXPECT_EQ(MarkerNow()->cut.name, before);
  EXPECT_EQ(stdfs::file_size(InTree("f")), 100u);
  stdfs::remove(Filler());
  EXPECT_EQ(Ship(Changed("f", 100, 10 * kMiB)), ReplyCode::kOk);
  EXPECT_EQ(stdfs::file_size(InTree("f")), 100 + 10 * kMiB);
}

TEST_P(FullStore, HasAMarkerOfAVolumeWithALongName) {
  const std::string name(120, 'v');
  ReplicaClient client(*store_, name, VolumeId(2, 2));
  ASSERT_EQ(client.Greet().code, ReplyCode::kOk);
  ASSERT_EQ(client.Ship(NewFile("f", 100)).code, ReplyCode::kOk);
  const test::Competitor competitor(disk_->directory() + "/others");
  const UniqueFd fd(open((disk_->directory() + "/store/" + name).c_str(), O_RDONLY | O_DIRECTORY));
  for (uint64_t size : {90, 80}) {
    const CutName cut = client.NextCut();
    ASSERT_EQ(client.Ship(Changed("f", size, 0)).code, ReplyCode::kOk);
    const auto marker = ReadMarker(fd.get());
    ASSERT_TRUE(marker);
    EXPECT_EQ(marker->cut.name, cut);
  }
}

TEST_P(FullStore, TakesNoRoomForWhatIsWrittenOver) {
  ASSERT_EQ(Ship(NewFile("f", 10 * kMiB)), ReplyCode::kOk);
  Restart();  // the stage it came in is gone, and shares no blocks with it
  ASSERT_EQ(client_->Greet().code, ReplyCode::kOk);
  Fill(15 * kMiB);
  EXPECT_EQ(Ship(Changed("f", 0, 10 * kMiB)), ReplyCode::kOk);
}

TEST_P(FullStore, HoldsTheRoomOfACutUntilItIsApplied) {
  ASSERT_EQ(Ship(NewFile("f", 100)), ReplyCode::kOk);
  Fill(25 * kMiB);
  test::Hold(test::Held::kMarker);
  const CutName cut = client_->NextCut();
  ASSERT_EQ(CommitOnly(Changed("f", 100, 8 * kMiB), cut), ReplyCode::kOk);
  test::Release(test::Held::kMarker);
  EXPECT_EQ(client_->WaitApplied(cut).code, ReplyCode::kOk);
  EXPECT_FALSE(
      stdfs::exists(disk_->directory() + "/store/vol/stage/" + client_->stage().ToHex() + ".room"));
}

TEST_P(FullStore, TakesACutOnTopOfOneThatIsBlockedAndAppliesBothAsOne) {
  ASSERT_EQ(Ship(NewFile("f", 100)), ReplyCode::kOk);
  for (const bool restarted : {false, true}) {
    SCOPED_TRACE(restarted);
    test::RefuseMarkers(ENOSPC);
    const CutName first = client_->NextCut();
    ASSERT_EQ(CommitOnly(NewFile("g", 5000), first), ReplyCode::kOk);
    ASSERT_EQ(client_->WaitApplied(first).code, ReplyCode::kNoSpace);
    EXPECT_EQ(client_->Ask(Find{}).code, ReplyCode::kNoSpace) << "nothing is read meanwhile";
    const CutName second = client_->NextCut();
    std::vector<Record> records = Changed("f", 50, 10);
    const auto removed = Removed("g");
    records.insert(records.end(), removed.begin(), removed.end());
    ASSERT_EQ(CommitOnly(records, second), ReplyCode::kOk);
    if (restarted) Restart();
    test::RefuseMarkers(0);
    if (restarted) {
      const Reply greeting = client_->Greet();
      EXPECT_EQ(std::get<Position>(greeting.body).durable, second);
    }
    ASSERT_TRUE(Applies(second));
    EXPECT_FALSE(stdfs::exists(InTree("g")));
    EXPECT_EQ(stdfs::file_size(InTree("f")), 60u);
  }
}

// Of what the blocked cut appends nothing stays.
TEST_P(FullStore, WritesNothingThatTheCutOnTopCutsOff) {
  ASSERT_EQ(Ship(NewFile("f", 100)), ReplyCode::kOk);
  Fill(25 * kMiB);
  test::RefuseMarkers(ENOSPC);
  const CutName first = client_->NextCut();
  ASSERT_EQ(CommitOnly(Changed("f", 100, 8 * kMiB), first), ReplyCode::kOk);
  ASSERT_EQ(client_->WaitApplied(first).code, ReplyCode::kNoSpace);
  const test::Competitor competitor(disk_->directory() + "/others");
  test::RefuseMarkers(0);
  ASSERT_EQ(client_->WaitApplied(first).code, ReplyCode::kNoSpace);
  const CutName second = client_->NextCut();
  ASSERT_TRUE(Commits(Changed("f", 60, 0), second));
  ASSERT_TRUE(Applies(second));
  EXPECT_EQ(stdfs::file_size(InTree("f")), 60u);
}

// What the last cut freed others have.
TEST_P(FullStore, DoesNotApplyAgainAfterAKillWhatThereIsNoRoomForAnyMore) {
  store_.reset();
  const pid_t child = fork();
  if (child == 0) {
    Start();
    client_->Use(*store_);
    bool done = client_->Greet().code == ReplyCode::kOk;
    Fill(40 * kMiB);
    done = done && Ship(NewFile("f", 8 * kMiB)) == ReplyCode::kOk;
    done = done && Ship(NewFile("g", 8 * kMiB)) == ReplyCode::kOk;
    done = done && Ship(Changed("f", 4 * kMiB, 0)) == ReplyCode::kOk;
    _exit(done && !HasFailure() ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  const test::Competitor competitor(disk_->directory() + "/others");
  Start();
  client_->Use(*store_);
  const Reply greeting = client_->Greet();
  ASSERT_EQ(greeting.code, ReplyCode::kOk);
  const CutName last = std::get<Position>(greeting.body).durable;
  EXPECT_EQ(last.epoch, Epoch(3));
  EXPECT_EQ(client_->WaitApplied(last).code, ReplyCode::kOk);
  EXPECT_EQ(stdfs::file_size(InTree("f")), 4 * kMiB);
}

TEST_P(FullStore, IsAtNoCutAfterASetOfNoMomentAndGoesOnFromThere) {
  ASSERT_EQ(Ship(NewFile("f", 2 * kMiB)), ReplyCode::kOk);
  ASSERT_EQ(Ship(NewFile("g", 100)), ReplyCode::kOk);
  const CutName thin{Epoch(), CutId::Random()};
  EXPECT_EQ(CommitOnly(Changed("g", 50, 60), thin), ReplyCode::kNoSpace) << "it frees nothing";
  ASSERT_EQ(CommitOnly(Removed("f"), thin), ReplyCode::kOk);
  ASSERT_EQ(client_->WaitApplied(thin).code, ReplyCode::kOk) << "in the same session";
  EXPECT_EQ(MarkerNow()->state, TreeState::kSeeding);
  EXPECT_FALSE(stdfs::exists(InTree("f")));
  Restart();
  const Reply greeting = client_->Greet();
  const auto& position = std::get<Position>(greeting.body);
  EXPECT_EQ(position.durable, thin);
  EXPECT_EQ(position.applied, thin);
  EXPECT_FALSE(position.empty);
  EXPECT_EQ(MarkerNow()->state, TreeState::kSeeding);
  ASSERT_EQ(Ship(NewFile("h", 100)), ReplyCode::kOk);
  EXPECT_EQ(MarkerNow()->state, TreeState::kApplied);
  EXPECT_TRUE(stdfs::exists(InTree("g")));
  EXPECT_TRUE(stdfs::exists(InTree("h")));
}

INSTANTIATE_TEST_SUITE_P(OnDisks, FullStore, testing::Values("ext4", "xfs"),
                         [](const auto& param) { return std::string(param.param); });

}  // namespace
}  // namespace tandem::replica
