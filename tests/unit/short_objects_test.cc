// What makes an object fall short, and how the source goes on about it.
#include "replica/apply/short_objects.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include "meta/change/layer.h"
#include "replica/apply/catalog.h"
#include "replica/source/short_debts.h"
#include "tests/scratch.h"

namespace tandem::replica {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

Error SystemError(int code) { return {ErrorKind::kSystem, code, "try"}; }

TEST(ShortObjects, OnlyAnErrorOfTheObjectsOwnMakesItFallShort) {
  const test::Scratch scratch;
  const UniqueFd directory(open(scratch.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  for (const int code : {EFBIG, ENAMETOOLONG, E2BIG, EACCES, EPERM, EMLINK, EINVAL, EILSEQ}) {
    EXPECT_TRUE(IsErrorOfTheObject(SystemError(code), directory.get())) << code;
  }
  for (const int code : {ENOSPC, EDQUOT, EROFS, ENOMEM, EMFILE}) {
    EXPECT_FALSE(IsErrorOfTheObject(SystemError(code), directory.get())) << code;
  }
  EXPECT_FALSE(IsErrorOfTheObject({ErrorKind::kDatabase, EFBIG, "try"}, directory.get()));
}

TEST(ShortObjects, AnInputOutputErrorIsEverybodysUnlessAProbeCanBeWritten) {
  const test::Scratch scratch;
  const UniqueFd directory(open(scratch.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  EXPECT_TRUE(IsErrorOfTheObject(SystemError(EIO), directory.get()));
  const UniqueFd nothing_can_be_written(open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  EXPECT_FALSE(IsErrorOfTheObject(SystemError(EIO), nothing_can_be_written.get()));
}

TEST(ShortObjects, TheLargestFileIsTheOneThatCanJustBeMade) {
  const test::Scratch scratch;
  const UniqueFd directory(open(scratch.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const uint64_t largest = LargestFileIn(directory.get());
  const std::string path = scratch.path() + "/file";
  const UniqueFd file(open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
  EXPECT_EQ(ftruncate(file.get(), static_cast<off_t>(largest)), 0);
  if (largest < INT64_MAX) {
    EXPECT_NE(ftruncate(file.get(), static_cast<off_t>(largest + 1)), 0);
  }
}

TEST(ShortObjects, RowsLastAndGoWithTheirObject) {
  const test::Scratch scratch;
  const std::string path = scratch.path() + "/replica.db";
  const ObjectId one = ObjectId::Random();
  const ObjectId other = ObjectId::Random();
  {
    auto catalog = Catalog::Open(path);
    ASSERT_TRUE(catalog);
    auto part = (*catalog)->Begin();
    ASSERT_TRUE(part);
    ASSERT_TRUE((*catalog)->short_objects().Note({one, false, "too large"}));
    ASSERT_TRUE((*catalog)->short_objects().Note({other, true, "no such name"}));
    ASSERT_TRUE(part->Release());
    ASSERT_TRUE((*catalog)->Keep());
  }
  auto catalog = Catalog::Open(path);
  ASSERT_TRUE(catalog);
  ShortObjects& objects = (*catalog)->short_objects();
  EXPECT_EQ(*objects.Count(), 2u);
  EXPECT_EQ((*objects.Find(one))->reason, "too large");
  ASSERT_EQ(objects.ListByName()->size(), 1u);
  EXPECT_EQ(objects.ListByName()->front().object, other);
  auto part = (*catalog)->Begin();
  ASSERT_TRUE(part);
  ASSERT_TRUE((*catalog)->Remove(one));
  EXPECT_FALSE(*objects.Find(one));
  ASSERT_TRUE(part->Release());
}

// ---- The source's side -------------------------------------------------------------------------

class ShortDebtsTest : public testing::Test {
 protected:
  void Hear() {
    Position position;
    position.short_objects = {{object_, "d/file", "set size: File too large", false}};
    position.short_count = 1;
    debts_.Heard(position, now_);
  }
  void Change() {
    for (meta::ChangeSet& shard : changes_.shards) {
      if (changes_.Find(object_) != nullptr) break;
      shard[object_].attributes = meta::kAllAttributes;
      if (changes_.Find(object_) == nullptr) shard.erase(object_);
    }
    ASSERT_NE(changes_.Find(object_), nullptr);
  }
  bool Due() { return !debts_.Due(changes_, now_).empty(); }
  bool IsAnyDue() {
    const auto next = debts_.NextDue();
    return next && *next <= now_;
  }

  const ObjectId object_ = ObjectId::Random();
  ShortDebts::Time now_ = CondVar::Clock::now();
  meta::Layer changes_;
  ShortDebts debts_;
};

TEST_F(ShortDebtsTest, PatienceGrowsToAMinute) {
  Hear();
  EXPECT_FALSE(Due());
  for (int i = 0; i < 20; ++i) {
    now_ += minutes(1);
    ASSERT_TRUE(Due() && IsAnyDue()) << i;
    debts_.NoteTried(object_, now_);
    ASSERT_FALSE(Due() || IsAnyDue()) << i;
  }
  now_ += seconds(59);
  EXPECT_FALSE(Due());
}

TEST_F(ShortDebtsTest, WhatChangedIsTriedAtOnceAndThenWithinSeconds) {
  Hear();
  Change();
  EXPECT_TRUE(Due());
  changes_ = meta::Layer();
  for (int i = 0; i < 20; ++i) debts_.NoteTried(object_, now_);
  now_ += seconds(5);
  EXPECT_FALSE(Due());
  Change();
  EXPECT_TRUE(Due());
}

TEST_F(ShortDebtsTest, WhatIsTooLargeIsTriedWhenItChangesAndAtOnce) {
  Hear();
  debts_.NoteHopeless(object_);
  now_ += minutes(10);
  EXPECT_FALSE(Due() || IsAnyDue());
  Change();
  EXPECT_TRUE(Due());
}

TEST_F(ShortDebtsTest, AnotherConnectionBeginsAnew) {
  Hear();
  for (int i = 0; i < 20; ++i) debts_.NoteTried(object_, now_);
  debts_.NoteHopeless(object_);
  debts_.TryAllAgain();
  EXPECT_TRUE(Due());
}

TEST_F(ShortDebtsTest, NamesThePathAndTheReasonUntilTheReplicaSaysThatItIsWell) {
  Hear();
  EXPECT_FALSE(debts_.empty());
  const auto summary = debts_.Summarize();
  ASSERT_TRUE(summary);
  EXPECT_NE(summary->text.find("d/file"), std::string::npos);
  EXPECT_NE(summary->text.find("File too large"), std::string::npos);
  debts_.Heard(Position(), now_);
  EXPECT_TRUE(debts_.empty());
}

}  // namespace
}  // namespace tandem::replica
