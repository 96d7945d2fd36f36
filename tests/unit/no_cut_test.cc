// A tree that is of no one moment is never said to be at a cut: the source compares everything.
#include <endian.h>
#include <fcntl.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>

#include "tests/unit/failing_calls.h"
#include "tests/unit/interrupted_store.h"
#include "tests/unit/ruined_tree.h"

namespace tandem::replica {
namespace {

using meta::Kind;
using NoCut = InterruptedStore;

// Moves the tree to tree.old; returns the path of an empty one in its place.
std::string PutOtherTreeInPlace(const std::string& store) {
  std::string tree = store + "/vol/tree";
  std::filesystem::rename(tree, tree + ".old");
  std::filesystem::create_directory(tree);
  return tree;
}

TEST_F(NoCut, WithoutTheStageTheTreeIsNowhere) {
  TwoCutsOfAFile();
  const ScratchDirectory store;
  ASSERT_NO_FATAL_FAILURE(Prepare(store.path(), 1, 2));
  for (const auto& stage : StagesIn(store.path())) std::filesystem::remove(stage);
  ASSERT_NO_FATAL_FAILURE(ExpectNowhereAndSeed(store.path(), {}));
}

TEST_F(NoCut, WithAMarkerThatCannotBeReadTheTreeIsNowhere) {
  TwoCutsOfAFile();
  const ScratchDirectory store;
  ASSERT_NO_FATAL_FAILURE(Prepare(store.path(), 2, 2));
  std::filesystem::resize_file(store.path() + "/vol/applied", 0);
  ASSERT_NO_FATAL_FAILURE(ExpectNowhereAndSeed(store.path(), {}));
}

// With the others alone it would be said to be at a cut of which it has more and less.
TEST_F(NoCut, WithoutOneOfTheStagesTheTreeIsNowhere) {
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

// What was sent when the tree was at no cut before leads from what it had then.
TEST_F(NoCut, StagesFromAnotherSuchTimeFitNoMore) {
  TwoCutsOfAFile();
  const ScratchDirectory store;
  const ScratchDirectory saved;
  ASSERT_NO_FATAL_FAILURE(Prepare(store.path(), 1, 1));
  const std::string file = store.path() + "/vol/tree/f";
  std::filesystem::remove(file);
  {
    const auto opened = Store::Open(store.path()).value();
    ReplicaClient client(*opened);
    ASSERT_NO_FATAL_FAILURE(ExpectNowhere(client));
    EXPECT_NE(std::get<Position>(client.Greet().body).notice, "");
    ASSERT_EQ(client.Ship(RecordsBetween(Model::Nothing(), model_, random_)).code, ReplyCode::kOk);
    const Model before = model_;
    model_.Write("f", 0, "and again");
    ASSERT_EQ(client.Begin().code, ReplyCode::kOk);
    client.Ask(client.MakeChunk(RecordsBetween(before, model_, random_)));
    test::Hold(test::Held::kMarker);
    ASSERT_EQ(client.Ask(client.MakeCommit(client.NextCut())).code, ReplyCode::kOk);
    EXPECT_TRUE(test::WaitFor([] { return test::IsHeld(test::Held::kMarker); }));
    std::filesystem::remove(file);
    for (const auto& stage : StagesIn(store.path())) {
      std::filesystem::copy_file(stage, saved.path() + "/" + stage.filename().string());
    }
    test::Release(test::Held::kMarker);
    ASSERT_NO_FATAL_FAILURE(ExpectNowhere(client));
  }
  size_t put_back = 0;
  for (const auto& stage : std::filesystem::directory_iterator(saved.path())) {
    std::filesystem::copy(stage, store.path() + "/vol/stage");
    ++put_back;
  }
  ASSERT_GE(put_back, 2U) << "too slow for this test";
  ASSERT_NO_FATAL_FAILURE(ExpectNowhereAndSeed(store.path(), {}));
}

// What nobody speaks of, because neither the source nor the catalog has ever heard of it.
TEST_F(NoCut, AtNoCutStrangersAreRemovedEverywhere) {
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
TEST_F(NoCut, CopiedNamesThatWereOneFileAreMadeOneAgain) {
  model_.Make("f", Kind::kFile, "content");
  model_.Link("f", "g");
  Cut();
  const ScratchDirectory store;
  ASSERT_NO_FATAL_FAILURE(Prepare(store.path(), 1, 1));
  const std::string tree = PutOtherTreeInPlace(store.path());
  for (const char* name : {"/f", "/g"}) {
    std::filesystem::copy_file(tree + ".old" + name, tree + name);
  }
  ASSERT_NO_FATAL_FAILURE(ExpectNowhereAndSeed(store.path(), {}));
}

// One made by something that keeps equal files once.
TEST_F(NoCut, CopiedFilesThatHaveBecomeOneAreMadeTwoAgain) {
  model_.Make("f", Kind::kFile, "content");
  model_.Make("g", Kind::kFile, "content");
  model_.Link("g", "h");
  Cut();
  const ScratchDirectory store;
  ASSERT_NO_FATAL_FAILURE(Prepare(store.path(), 1, 1));
  const std::string tree = PutOtherTreeInPlace(store.path());
  std::filesystem::copy_file(tree + ".old/f", tree + "/f");
  std::filesystem::create_hard_link(tree + "/f", tree + "/g");
  std::filesystem::create_hard_link(tree + "/f", tree + "/h");
  ASSERT_NO_FATAL_FAILURE(ExpectNowhereAndSeed(store.path(), {}));
}

TEST_F(NoCut, ACopyInWhichAFileIsCutShortIsNowhere) {
  model_.Make("f", Kind::kFile, "content");
  Cut();
  const ScratchDirectory store;
  ASSERT_NO_FATAL_FAILURE(Prepare(store.path(), 1, 1));
  const std::string tree = PutOtherTreeInPlace(store.path());
  std::ofstream(tree + "/f") << "cont";
  ASSERT_NO_FATAL_FAILURE(ExpectNowhereAndSeed(store.path(), {}));
}

// Not a file that is empty, under a marker that says all is well.
TEST_F(NoCut, WhatIsGoneFromTheTreeIsSentAnew) {
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

TEST_F(NoCut, WhatIsGoneFromTheStagesFilesIsSentAnew) {
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

TEST_F(NoCut, WhateverStandsInTheTreeItEndsAsTheSource) {
  ForRounds([this] {
    for (int step = 0; step < 60; ++step) model_.Mutate(random_);
    Cut();
    const ScratchDirectory store;
    ASSERT_NO_FATAL_FAILURE(Prepare(store.path(), 1, 1));
    RuinTree(store.path() + "/vol/tree", random_);
    std::filesystem::remove(store.path() + "/vol/applied");
    for (int step = 0; step < 20; ++step) model_.Mutate(random_);
    ExpectNowhereAndSeed(store.path(), {});
  });
}

}  // namespace
}  // namespace tandem::replica
