// Invariant 5: a volume is left by no name and no link, whatever its source sends and whatever
// another program of this host does to its directories meanwhile.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <functional>
#include <thread>

#include "replica/store/store.h"
#include "tests/unit/failing_calls.h"
#include "tests/unit/replica_client.h"
#include "tests/unit/replica_model.h"

namespace tandem::replica {
namespace {

namespace stdfs = std::filesystem;

constexpr uint64_t kAttacks = 3'000;
using meta::Kind;

class Containment : public testing::Test {
 protected:
  Containment() {
    // The names that the volume uses, so that a step through a link finds something to do.
    for (int i = 0; i < 12; ++i) {
      const std::string name = Outside("n" + std::to_string(i));
      if (i % 3 == 0) {
        stdfs::create_directory(name);
        std::ofstream(name + "/n1") << "in a directory outside";
      } else {
        std::ofstream(name) << "outside";
      }
    }
    before_ = PictureOf(outside_.path());
    Start();
  }
  ~Containment() override { EXPECT_EQ(Difference(before_, PictureOf(outside_.path())), ""); }

  void Start() {
    client_.reset();
    store_.reset();
    store_ = Store::Open(scratch_.path() + "/store").value();
    client_ = std::make_unique<ReplicaClient>(*store_);
    ASSERT_EQ(client_->Greet().code, ReplyCode::kOk);
  }
  std::string Outside(const std::string& name) const { return outside_.path() + "/" + name; }
  std::string Volume(const std::string& name) const {
    return scratch_.path() + "/store/vol/" + name;
  }
  std::string Tree(const std::string& name) const { return Volume("tree/" + name); }
  std::vector<Record> Changes() { return RecordsBetween(shipped_, model_, random_); }
  // What the source does when the replica lacks objects, or some fall short, or it is at no cut.
  void BringUpToDate() {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    Reply reply;
    while (std::chrono::steady_clock::now() < deadline) {
      reply = client_->Greet();
      if (reply.code == ReplyCode::kOk) reply = client_->WaitApplied(client_->base());
      const auto* position = std::get_if<Position>(&reply.body);
      if (reply.code != ReplyCode::kOk || position == nullptr) {
        usleep(20'000);
        continue;
      }
      if (client_->base().epoch == Epoch()) shipped_ = Model::Nothing();
      for (const ShortObject& object : position->short_objects) {
        shipped_.objects.erase(object.object);
      }
      reply = client_->Ship(Changes());
      for (const ObjectId object : reply.missing) shipped_.objects.erase(object);
      position = std::get_if<Position>(&reply.body);
      if (reply.code != ReplyCode::kOk || position == nullptr) continue;
      shipped_ = model_;
      if (position->short_count == 0 && position->applied == client_->base()) return;
    }
    FAIL() << "not up to date: " << reply.message;
  }
  // As a verify that repairs would: what others do to objects that no cut changes goes unnoticed.
  void SendAllAgain() {
    shipped_ = Model::Nothing();
    BringUpToDate();
  }
  void ExpectTheTree() {
    EXPECT_EQ(Difference(PictureOf(model_), PictureOf(Volume("tree"))), "");
    EXPECT_TRUE(stdfs::is_empty(Volume("stage/hold")));
  }
  // Commits changes, and while they are applied `attack` runs again and again.
  void CutUnderAttack(const std::function<void()>& attack) {
    std::atomic<bool> stop = false;
    std::thread attacker([&] {
      while (!stop) {
        attack();
        ++attacks_;
      }
    });
    (void)client_->Greet();
    if (client_->Begin().code == ReplyCode::kOk) {
      (void)client_->Ask(client_->MakeChunk(Changes()));
      const CutName cut = client_->NextCut();
      Reply reply = client_->Commit(cut);
      for (const ObjectId object : reply.missing) shipped_.objects.erase(object);
      if (reply.code == ReplyCode::kOk) {
        (void)client_->Ask(WaitApplied{cut, 100});
        shipped_ = model_;
      }
    }
    stop = true;
    attacker.join();
  }

  const ScratchDirectory outside_;
  Picture before_;
  const ScratchDirectory scratch_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<ReplicaClient> client_;
  Model model_;
  Model shipped_ = Model::Nothing();
  std::mt19937 random_{5};
  uint64_t attacks_ = 0;
};

// ---- Other programs ----------------------------------------------------------------------------

// For a moment puts something else where `path` was. What cannot go back because a redo has taken
// the name meanwhile stays away.
class Swap {
 public:
  explicit Swap(std::string directory) : directory_(std::move(directory)) {
    stdfs::create_directory(directory_);
  }
  // `plant` makes the other thing at a path that is free.
  void operator()(const std::string& path, const std::function<void(const std::string&)>& plant) {
    const std::string mine = directory_ + "/" + std::to_string(++count_);
    plant(mine);
    const bool swapped = Exchange(mine, path);
    if (swapped && count_ % 2 == 0) usleep(static_cast<useconds_t>(count_ % 7 * 10));
    if (swapped) (void)Exchange(mine, path);
    std::error_code ignored;
    stdfs::remove_all(mine, ignored);
  }

 private:
  static bool Exchange(const std::string& a, const std::string& b) {
    return renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE) == 0;
  }
  const std::string directory_;
  uint64_t count_ = 0;
};

TEST_F(Containment, Invariant5LinksSwappedIntoTheTreeWhileCutsAreAppliedLeadNowhere) {
  Swap swap(scratch_.path() + "/swap");
  std::mt19937 random(1);
  const auto name = [&random] { return "n" + std::to_string(random() % 12); };
  for (int round = 0; round < 20 || (attacks_ < kAttacks && round < 2000); ++round) {
    for (int i = 0; i < 10; ++i) model_.Mutate(random_);
    CutUnderAttack([&] {
      const bool deep = random() % 2 == 0;
      const std::string path = deep ? Tree(name() + "/" + name()) : Tree(name());
      swap(path, [&](const std::string& at) {
        // A directory outside, or something in it.
        const std::string target = random() % 2 == 0 ? outside_.path() : Outside(name());
        stdfs::create_symlink(target, at);
      });
    });
    ASSERT_EQ(Difference(before_, PictureOf(outside_.path())), "") << "round " << round;
    BringUpToDate();
  }
  EXPECT_GE(attacks_, kAttacks);
  SendAllAgain();
  ExpectTheTree();
}

TEST_F(Containment, Invariant5LinksSwappedIntoTheStageWhileCutsAreAppliedLeadNowhere) {
  Swap swap(scratch_.path() + "/swap");
  std::mt19937 random(2);
  const auto some_name_in = [&random](const std::string& directory) {
    std::vector<std::string> names;
    std::error_code error;
    for (stdfs::directory_iterator it(directory, error), end; !error && it != end;
         it.increment(error)) {
      names.push_back(it->path());
    }
    return names.empty() ? directory + "/none" : names[random() % names.size()];
  };
  const auto plant = [&](const std::string& at) {
    switch (random() % 3) {
      case 0:
        return stdfs::create_symlink(outside_.path(), at);
      case 1:
        return stdfs::create_symlink(Outside("n1"), at);
      default:
        return stdfs::create_hard_link(Outside("n1"), at);
    }
  };
  for (int round = 0; round < 20 || (attacks_ < kAttacks && round < 2000); ++round) {
    for (int i = 0; i < 10; ++i) model_.Mutate(random_);
    CutUnderAttack([&] {
      const std::string stage = Volume("stage");
      std::string path = some_name_in(random() % 2 == 0 ? stage + "/hold" : stage);
      // The files of the stage itself are read and written through a descriptor.
      if (path.ends_with("/hold")) return;
      if (path.ends_with(".files")) path = some_name_in(path);
      swap(path, plant);
    });
    ASSERT_EQ(Difference(before_, PictureOf(outside_.path())), "") << "round " << round;
    BringUpToDate();
  }
  EXPECT_GE(attacks_, kAttacks);
  SendAllAgain();
  ExpectTheTree();
}

TEST_F(Containment, Invariant5SpareFilesAreNotThoseOfOthers) {
  client_.reset();
  store_.reset();
  for (const char* name : {"spare.0", "spare.1", "spare.object.0", "spare.object.1.new",
                           "spare.object.2", "hold/.trash-x"}) {
    const std::string path = Volume("stage/") + name;
    stdfs::remove(path);
    stdfs::create_hard_link(Outside("n1"), path);
  }
  stdfs::remove(Volume("stage/spare.object.3"));
  stdfs::create_symlink(Outside("n2"), Volume("stage/spare.object.3"));
  Start();
  model_.Make("n1", Kind::kFile, "content");
  BringUpToDate();
  ExpectTheTree();
}

TEST_F(Containment, Invariant5AForeignFileLinkedIntoTheTreeIsNotWritten) {
  for (const char* name : {"n1", "n2", "n4"}) model_.Make(name, Kind::kFile, "content");
  BringUpToDate();
  for (const char* name : {"n1", "n2", "n4"}) {
    ASSERT_EQ(link(Outside(name).c_str(), Volume("link").c_str()), 0);
    ASSERT_EQ(rename(Volume("link").c_str(), Tree(name).c_str()), 0);
  }
  model_.Write("n1", 0, "CONTENT");
  model_.Resize("n1", 3);
  model_.Change("n2", 0600, geteuid(), {{"user.a", "b"}});
  model_.Remove("n4");
  BringUpToDate();
  ExpectTheTree();
}

// The replica's own file stays the replica's, also if it has a name elsewhere.
TEST_F(Containment, Invariant5ALinkOutOfTheTreeIsTheReplicasFileUntilItIsReplaced) {
  model_.Make("n1", Kind::kFile, "content");
  BringUpToDate();
  const ScratchDirectory elsewhere;
  const std::string taken = elsewhere.path() + "/taken";
  ASSERT_EQ(link(Tree("n1").c_str(), taken.c_str()), 0);
  model_.Remove("n1");
  model_.Make("n1", Kind::kFile, "another");
  BringUpToDate();
  std::ifstream file(taken);
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(file), {}), "content");
  ExpectTheTree();
}

// A second name of one of the replica's files is not one that the filesystem takes for the same.
TEST_F(Containment, Invariant5ALinkWithinTheTreeGivesWayToWhatIsToHaveTheName) {
  model_.Make("n1", Kind::kFile, "content");
  BringUpToDate();
  test::ForbidNames("n2");
  model_.Make("n2", Kind::kFile, "another");
  const Reply reply = client_->Ship(Changes());
  test::ForbidNames("");
  shipped_ = model_;
  ASSERT_EQ(std::get<Position>(reply.body).short_count, 1u) << reply.message;
  ASSERT_EQ(link(Tree("n1").c_str(), Tree("n2").c_str()), 0);
  BringUpToDate();
  ExpectTheTree();
}

// ---- The source --------------------------------------------------------------------------------

TEST_F(Containment, Invariant5ADirectoryInsideItselfIsRefused) {
  model_.Make("a", Kind::kDirectory);
  model_.Make("a/b", Kind::kDirectory);
  model_.Make("a/b/c", Kind::kDirectory);
  BringUpToDate();
  const ObjectId a = model_.At("a");
  const ObjectId b = model_.At("a/b");
  const ObjectId c = model_.At("a/b/c");
  const std::vector<std::vector<Record>> circles = {
      {EntryRecord{c, "a", a}},
      {EntryRecord{b, "b", a}, EntryRecord{a, "b", b}},
  };
  for (const auto& records : circles) {
    const Reply reply = client_->Ship(records);
    EXPECT_EQ(reply.code, ReplyCode::kBadRequest) << reply.message;
  }
  BringUpToDate();
  ExpectTheTree();
  // A circle that hangs on nothing is as good as removed.
  EXPECT_EQ(client_->Ship({EntryRecord{c, "b", b}, EntryRecord{a, "b", {}}}).code, ReplyCode::kOk);
  model_.Remove("a/b");
  SendAllAgain();
  ExpectTheTree();
}

TEST_F(Containment, Invariant5ContentIsForFilesOnly) {
  const std::map<std::string, Kind> kinds = {{"directory", Kind::kDirectory},
                                             {"fifo", Kind::kFifo},
                                             {"socket", Kind::kSocket},
                                             {"link", Kind::kSymlink}};
  for (const auto& [name, kind] : kinds) model_.Make(name, kind, Outside("n1"));
  if (geteuid() == 0) model_.Make("device", Kind::kCharDevice);
  BringUpToDate();
  for (const std::string& path : model_.Paths()) {
    const ObjectId object = model_.At(path);
    const DataRecord data{object, 0, 4, Encoding::kLiteral, "data", {}, 0, 0, 0};
    const Reply reply = client_->Ship({data});
    EXPECT_EQ(reply.code, ReplyCode::kBadRequest) << path << ": " << reply.message;
    // Nor if it comes with the object, or for a file that becomes another kind.
    const auto& attributes = model_.objects.at(object).attributes;
    EXPECT_EQ(client_->Ship({ObjectRecord{object, true, true, attributes}, data}).code,
              ReplyCode::kBadRequest)
        << path;
    EXPECT_EQ(client_->Ask(GetSignature{object, 0, 4096}).code, ReplyCode::kNotFound) << path;
  }
  BringUpToDate();
  ExpectTheTree();
}

TEST_F(Containment, Invariant5ObjectsOfAnotherVolumeCannotBeNamed) {
  model_.Make("d", Kind::kDirectory);
  model_.Make("d/secret", Kind::kFile, std::string(9000, 's'));
  BringUpToDate();
  const ObjectId directory = model_.At("d");
  const ObjectId secret = model_.At("d/secret");

  ReplicaClient other(*store_, "other", VolumeId(2, 2));
  ASSERT_EQ(other.Greet().code, ReplyCode::kOk);
  meta::Attributes root;
  root.kind = Kind::kDirectory;
  root.permissions = 0755;
  ASSERT_EQ(other.Ship({ObjectRecord{kRootObject, true, true, root}}).code, ReplyCode::kOk);
  EXPECT_EQ(other.Ship({EntryRecord{kRootObject, "x", secret}}).code, ReplyCode::kMissingObjects);
  // These change nothing: to this volume they are of objects that have no name.
  EXPECT_EQ(other.Ship({EntryRecord{directory, "secret", {}}}).code, ReplyCode::kOk);
  EXPECT_EQ(other.Ship({DataRecord{secret, 0, 4, Encoding::kLiteral, "data", {}, 0, 0, 0}}).code,
            ReplyCode::kOk);
  EXPECT_EQ(other.Ask(GetSignature{secret, 0, 4096}).code, ReplyCode::kNotFound);
  EXPECT_EQ(other.Ask(GetDigests{secret, 0, 4096, {4096}}).code, ReplyCode::kNotFound);
  EXPECT_EQ(other.Ask(List{directory, Origin::kDisk, "", false}).code, ReplyCode::kNotFound);
  EXPECT_EQ(other.Ask(List{directory, Origin::kDatabase, "", false}).code, ReplyCode::kNotFound);
  for (const Origin origin : {Origin::kDisk, Origin::kDatabase}) {
    const Reply reply = other.Ask(Find{{secret}, origin, true});
    ASSERT_EQ(reply.code, ReplyCode::kOk);
    EXPECT_TRUE(std::get<Found>(reply.body).objects.at(0).object.is_null());
  }
  // Nor with a file of the other volume linked into this one.
  ASSERT_EQ(link(Tree("d/secret").c_str(), (scratch_.path() + "/store/other/tree/x").c_str()), 0);
  EXPECT_EQ(other.Ship({EntryRecord{kRootObject, "y", secret}}).code, ReplyCode::kMissingObjects);
  EXPECT_EQ(other.Ship({EntryRecord{kRootObject, "x", {}}}).code, ReplyCode::kOk);
  ExpectTheTree();
}

}  // namespace
}  // namespace tandem::replica
