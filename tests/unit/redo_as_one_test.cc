// A daemon that was killed, or lost power: the catalog is at one cut, the tree at a later one, and
// the stages lead to a cut that is later still. They are redone as one, from the catalog's.
#include <endian.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>

#include "tests/process.h"
#include "tests/unit/replica_client.h"
#include "tests/unit/replica_model.h"

namespace tandem::replica {
namespace {

using meta::Kind;
using Cuts = std::vector<std::vector<Record>>;

class RedoAsOne : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root: owners and devices are compared";
  }
  void Cut() {
    cuts_.push_back(RecordsBetween(states_.back(), model_, random_));
    states_.push_back(model_);
  }
  void TwoCutsOfAFile() {
    model_.Make("f", Kind::kFile, "first");
    Cut();
    model_.Write("f", 0, "again");
    Cut();
  }
  // The first `kept` cuts are in the catalog, the first `applied` in the tree, all in stages.
  void Prepare(const std::string& store, size_t kept, size_t applied) {
    ASSERT_NO_FATAL_FAILURE(ShipAndDie(store, kept, applied));
    if (applied == cuts_.size()) return;
    // The other store moves into its tree what comes as a file.
    for (size_t cut = applied; cut < cuts_.size(); ++cut) {
      for (Record& record : cuts_[cut]) {
        if (auto* data = std::get_if<DataRecord>(&record)) data->fresh = false;
      }
    }
    const ScratchDirectory ahead;
    ASSERT_NO_FATAL_FAILURE(ShipAndDie(ahead.path(), applied, cuts_.size()));
    for (const auto& stage : StagesIn(ahead.path())) {
      std::filesystem::copy_file(stage, store + "/vol/stage/" + stage.filename().string());
    }
  }
  // What the daemon says when it has started again and applied what it had.
  void Start(const std::string& store, Position& position) {
    const auto opened = Store::Open(store).value();
    ReplicaClient client(*opened);
    const Reply reply = client.Greet();
    ASSERT_EQ(reply.code, ReplyCode::kOk) << reply.message;
    ASSERT_EQ(client.WaitApplied(client.base()).code, ReplyCode::kOk);
    position = std::get<Position>(client.Greet().body);
  }
  // Applies what it has, and then is at no cut. What the source sends then makes it whole, and is
  // not lost though the daemon dies at once.
  void ExpectNowhereAndSeed(const std::string& store, const std::vector<ObjectId>& unknown) {
    const pid_t child = fork();
    if (child == 0) {
      const auto opened = Store::Open(store).value();
      SeedFromNowhere(*opened, store, unknown);
      _exit(HasFailure() ? 1 : 0);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_EQ(status, 0);
    Position position;
    ASSERT_NO_FATAL_FAILURE(Start(store, position));
    EXPECT_EQ(position.applied.epoch, Epoch(1000));
    EXPECT_EQ(position.notice, "");
    ASSERT_EQ(Difference(PictureOf(model_), PictureOf(store + "/vol/tree")), "");
  }
  void ExpectLast(const std::string& store) {
    Position position;
    ASSERT_NO_FATAL_FAILURE(Start(store, position));
    EXPECT_EQ(position.applied.epoch.number(), cuts_.size());
    EXPECT_EQ(position.notice, "");
    ASSERT_EQ(Difference(PictureOf(states_.back()), PictureOf(store + "/vol/tree")), "");
  }

  std::mt19937 random_{4711};
  Model model_;
  Cuts cuts_;
  std::vector<Model> states_{Model::Nothing()};

 private:
  void SeedFromNowhere(Store& store, const std::string& path,
                       const std::vector<ObjectId>& unknown) {
    ReplicaClient client(store);
    Position position;
    ASSERT_TRUE(test::WaitFor([&] {
      position = std::get<Position>(client.Greet().body);
      return position.durable == position.applied;
    }));
    ASSERT_EQ(position.applied.epoch, Epoch());
    EXPECT_FALSE(position.empty);
    EXPECT_NE(position.notice, "");
    const auto marker = std::ifstream(path + "/vol/applied");
    EXPECT_NE((std::ostringstream() << marker.rdbuf()).str().find("seeding"), std::string::npos);
    const Found found = std::get<Found>(client.Ask(Find{unknown}).body);
    for (const Listed& listed : found.objects) EXPECT_TRUE(listed.object.is_null());
    ASSERT_EQ(client.Ship(RecordsBetween(Model::Nothing(), model_, random_)).code, ReplyCode::kOk);
    EXPECT_EQ(Difference(PictureOf(model_), PictureOf(path + "/vol/tree")), "");
  }
  // In a process of its own, which ends its store after `kept` cuts and then no more.
  void ShipAndDie(const std::string& path, size_t kept, size_t last) {
    const pid_t child = fork();
    if (child == 0) {
      bool good = true;
      for (const bool keep : {true, false}) {
        const size_t end = keep ? kept : last;
        auto store = Store::Open(path).value();
        ReplicaClient client(*store);
        good = good && client.Greet().code == ReplyCode::kOk;
        while (good && client.base().epoch.number() < end) {
          good = client.Ship(cuts_[client.base().epoch.number()]).code == ReplyCode::kOk;
        }
        if (!keep) _exit(good ? 0 : 1);
      }
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_EQ(status, 0);
    ASSERT_EQ(StagesIn(path).size(), last - kept);
  }
};

TEST_F(RedoAsOne, AppliesTheCutAgain) {
  TwoCutsOfAFile();
  const ScratchDirectory store;
  ASSERT_NO_FATAL_FAILURE(Prepare(store.path(), 1, 2));
  ExpectLast(store.path());
}

TEST_F(RedoAsOne, WithoutTheStageTheTreeIsNowhere) {
  TwoCutsOfAFile();
  const ScratchDirectory store;
  ASSERT_NO_FATAL_FAILURE(Prepare(store.path(), 1, 2));
  for (const auto& stage : StagesIn(store.path())) std::filesystem::remove(stage);
  Position position;
  ASSERT_NO_FATAL_FAILURE(Start(store.path(), position));
  EXPECT_EQ(position.durable.epoch, Epoch());
  EXPECT_EQ(position.applied.epoch, Epoch());
  EXPECT_NE(position.notice.find("lost"), std::string::npos) << position.notice;
}

TEST_F(RedoAsOne, WithAMarkerThatCannotBeReadTheTreeIsNowhere) {
  TwoCutsOfAFile();
  const ScratchDirectory store;
  ASSERT_NO_FATAL_FAILURE(Prepare(store.path(), 2, 2));
  std::ofstream(store.path() + "/vol/applied", std::ios::trunc);
  ASSERT_NO_FATAL_FAILURE(ExpectNowhereAndSeed(store.path(), {}));
}

// With the others alone it would be said to be at a cut of which it has more and less.
TEST_F(RedoAsOne, WithoutOneOfTheStagesTheTreeIsNowhere) {
  model_.Make("f", Kind::kFile, "first");
  Cut();
  for (const char* name : {"g", "h", "i"}) {
    model_.Make(name, Kind::kFile, name);
    Cut();
  }
  for (const size_t gone : {0, 1, 2}) {
    SCOPED_TRACE(gone);
    const ScratchDirectory store;
    ASSERT_NO_FATAL_FAILURE(Prepare(store.path(), 1, 4));
    for (const auto& stage : StagesIn(store.path())) {
      const auto fd = UniqueFd(open(stage.c_str(), O_RDONLY | O_CLOEXEC));
      char header[56 + 40];
      ASSERT_EQ(read(fd.get(), header, sizeof header), ssize_t{sizeof header});
      uint64_t base = 0;
      std::memcpy(&base, header + 56 + 32, sizeof base);
      if (le64toh(base) == gone + 1) std::filesystem::remove(stage);
    }
    ASSERT_EQ(StagesIn(store.path()).size(), 2u);
    ASSERT_NO_FATAL_FAILURE(ExpectNowhereAndSeed(store.path(), {}));
  }
}

// What nobody speaks of, because neither the source nor the catalog has ever heard of it.
TEST_F(RedoAsOne, AtNoCutStrangersAreRemovedEverywhere) {
  model_.Make("d", Kind::kDirectory);
  model_.Make("d/e", Kind::kDirectory);
  model_.Make("d/e/f", Kind::kFile, "content");
  model_.Make("moved", Kind::kDirectory);
  model_.Make("moved/g", Kind::kFile, "content");
  Cut();
  const ScratchDirectory store;
  ASSERT_NO_FATAL_FAILURE(Prepare(store.path(), 1, 1));
  const std::string tree = store.path() + "/vol/tree/";
  std::filesystem::create_directory(tree + "d/e/stranger");
  std::filesystem::rename(tree + "moved", tree + "d/e/stranger/moved");
  std::ofstream(tree + "d/e/stranger/moved/another") << "stranger";
  std::filesystem::create_hard_link(tree + "d/e/f", tree + "d/link");
  std::ofstream(tree + "moved") << "in its place";
  std::filesystem::remove(store.path() + "/vol/applied");
  ASSERT_NO_FATAL_FAILURE(ExpectNowhereAndSeed(store.path(), {}));
}

// A copy, made without regard to hard links.
TEST_F(RedoAsOne, CopiedNamesThatWereOneFileAreMadeOneAgain) {
  model_.Make("f", Kind::kFile, "content");
  model_.Link("f", "g");
  Cut();
  const ScratchDirectory store;
  ASSERT_NO_FATAL_FAILURE(Prepare(store.path(), 1, 1));
  const std::string tree = store.path() + "/vol/tree";
  std::filesystem::rename(tree, tree + ".old");
  std::filesystem::create_directory(tree);
  for (const char* name : {"/f", "/g"}) {
    std::filesystem::copy_file(tree + ".old" + name, tree + name);
  }
  ASSERT_NO_FATAL_FAILURE(ExpectNowhereAndSeed(store.path(), {}));
}

TEST_F(RedoAsOne, ACopyInWhichAFileIsCutShortIsNowhere) {
  model_.Make("f", Kind::kFile, "content");
  Cut();
  const ScratchDirectory store;
  ASSERT_NO_FATAL_FAILURE(Prepare(store.path(), 1, 1));
  const std::string tree = store.path() + "/vol/tree";
  std::filesystem::rename(tree, tree + ".old");
  std::filesystem::create_directory(tree);
  std::ofstream(tree + "/f") << "cont";
  ASSERT_NO_FATAL_FAILURE(ExpectNowhereAndSeed(store.path(), {}));
}

// Not a file that is empty, under a marker that says all is well.
TEST_F(RedoAsOne, WhatIsGoneFromTheTreeIsSentAnew) {
  model_.Make("d", Kind::kDirectory);
  model_.Make("d/below", Kind::kFile, "below");
  model_.Make("f", Kind::kFile, "first");
  Cut();
  model_.Write("f", 5, "again");
  model_.Make("d/new", Kind::kFile, "new");
  Cut();
  for (const char* gone : {"f", "d"}) {
    SCOPED_TRACE(gone);
    const ScratchDirectory store;
    ASSERT_NO_FATAL_FAILURE(Prepare(store.path(), 1, 1));
    std::filesystem::remove_all(store.path() + "/vol/tree/" + gone);
    std::vector<ObjectId> unknown = {model_.At(gone)};
    if (gone == std::string("d")) unknown.push_back(model_.At("d/below"));
    ASSERT_NO_FATAL_FAILURE(ExpectNowhereAndSeed(store.path(), unknown));
  }
}

TEST_F(RedoAsOne, WhatIsGoneFromTheStagesFilesIsSentAnew) {
  model_.Make("d", Kind::kDirectory);
  Cut();
  model_.Make("large", Kind::kFile, "content");
  Cut();
  for (Record& record : cuts_[1]) {
    if (auto* data = std::get_if<DataRecord>(&record)) data->fresh = true;
  }
  const ScratchDirectory store;
  ASSERT_NO_FATAL_FAILURE(Prepare(store.path(), 1, 2));
  std::filesystem::remove(store.path() + "/vol/tree/large");
  ASSERT_NO_FATAL_FAILURE(ExpectNowhereAndSeed(store.path(), {model_.At("large")}));
}

// From the first cut to the third no name leads through the directory.
TEST_F(RedoAsOne, FindsWhatIsOnItsWayThroughADirectoryThatGoes) {
  model_.Make("f", Kind::kFile, "content");
  model_.Make("o", Kind::kFile, "other");
  model_.Make("d", Kind::kDirectory);
  Cut();
  model_.Make("d/made", Kind::kDirectory);
  model_.Rename("f", "d/f");
  model_.Rename("o", "d/made/o");
  Cut();
  model_.Rename("d/f", "g");
  model_.Rename("d/made/o", "p");
  model_.Remove("d");
  Cut();
  const ScratchDirectory store;
  ASSERT_NO_FATAL_FAILURE(Prepare(store.path(), 1, 2));
  ExpectLast(store.path());
}

// TANDEM_TEST_ROUNDS=N for more; the seed of each round is part of what a failure prints.
TEST_F(RedoAsOne, LeadsFromAnyCatalogAndAnyTreeToTheLastCut) {
  const char* rounds = getenv("TANDEM_TEST_ROUNDS");
  std::mt19937 seeds(1);
  for (int round = rounds != nullptr ? atoi(rounds) : 20; round > 0; --round) {
    const auto seed = static_cast<unsigned>(seeds());
    SCOPED_TRACE("seed " + std::to_string(seed));
    random_.seed(seed);
    model_ = Model();
    cuts_.clear();
    states_.resize(1);
    for (size_t cut = 0; cut < 5; ++cut) {
      for (unsigned steps = 1 + random_() % 30; steps > 0; --steps) model_.Mutate(random_);
      Cut();
    }
    const size_t kept = random_() % 4;
    const size_t applied = kept + 1 + random_() % (5 - kept);
    const ScratchDirectory store;
    ASSERT_NO_FATAL_FAILURE(Prepare(store.path(), kept, applied)) << kept << " " << applied;
    ASSERT_NO_FATAL_FAILURE(ExpectLast(store.path())) << kept << " " << applied;
  }
}

}  // namespace
}  // namespace tandem::replica
