// Change sets in which something falls short: all else is what the source has.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>

#include "replica/store/store.h"
#include "tests/unit/failing_calls.h"
#include "tests/unit/replica_client.h"
#include "tests/unit/replica_model.h"

namespace tandem::replica {
namespace {

using meta::Kind;

constexpr uint64_t kLargest = 64 << 20;
constexpr uint64_t kTooLarge = kLargest + 1;

class RedoShort : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root: owners and devices are compared";
    // As on a filesystem that takes none larger.
    std::signal(SIGXFSZ, SIG_IGN);
    ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before_), 0);
    rlimit limit = before_;
    limit.rlim_cur = kLargest;
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
    Start();
    EXPECT_EQ(position_.largest_file, kLargest);
  }
  void TearDown() override {
    test::ForbidNames("");
    test::ForbidLinks(false);
    (void)setrlimit(RLIMIT_FSIZE, &before_);
  }
  void Start() {
    store_ = Store::Open(scratch_.path()).value();
    client_ = std::make_unique<ReplicaClient>(*store_);
    Hear(client_->Greet());
  }
  void Restart() {
    client_.reset();
    store_.reset();
    Start();
  }
  void Hear(const Reply& reply) {
    ASSERT_EQ(reply.code, ReplyCode::kOk) << reply.message;
    position_ = std::get<Position>(reply.body);
    EXPECT_EQ(position_.notice.find("another program"), std::string::npos) << position_.notice;
  }
  void Cut() { CutWith(RecordsBetween(shipped_, model_, random_)); }
  void CutWith(const std::vector<Record>& records) {
    Hear(client_->Ship(records));
    shipped_ = model_;
  }
  // All of it, as for an object that is sent anew.
  std::vector<Record> Whole(const std::string& path) {
    Model without = model_;
    without.objects.erase(model_.At(path));
    return RecordsBetween(without, model_, random_);
  }
  void ExpectShort(const std::string& path, bool by_name) {
    ASSERT_EQ(position_.short_count, 1u);
    ASSERT_EQ(position_.short_objects.size(), 1u);
    EXPECT_EQ(position_.short_objects.front().path, path);
    EXPECT_EQ(position_.short_objects.front().by_name, by_name);
  }
  void ExpectAllIsThere() {
    EXPECT_EQ(position_.short_count, 0u);
    EXPECT_EQ(Difference(PictureOf(model_), PictureOf(Tree())), "");
    EXPECT_TRUE(std::filesystem::is_empty(scratch_.path() + "/vol/stage/hold"));
  }
  std::string Tree() const { return scratch_.path() + "/vol/tree"; }
  std::string On(const std::string& path) const {
    const auto picture = PictureOf(Tree());
    return picture.contains(path) ? picture.at(path) : "(nothing)";
  }

  rlimit before_ = {};
  ScratchDirectory scratch_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<ReplicaClient> client_;
  Model model_;
  Model shipped_ = Model::Nothing();
  Position position_;
  std::mt19937 random_{4711};
};

TEST_F(RedoShort, WhatCannotHaveItsNameStaysAsideUntilItCan) {
  test::ForbidNames("bad");
  model_.Make("d", Kind::kDirectory);
  model_.Make("d/bad", Kind::kDirectory);
  model_.Make("d/bad/in", Kind::kFile, "content");
  Cut();
  ExpectShort("d/bad", /*by_name=*/true);
  // Below it everything goes on.
  model_.Write("d/bad/in", 0, "changed");
  model_.Make("d/bad/new", Kind::kFile, "new");
  model_.Make("other", Kind::kFile, "other");
  Cut();
  ExpectShort("d/bad", /*by_name=*/true);
  EXPECT_NE(On("other"), "(nothing)");
  Restart();
  ExpectShort("d/bad", /*by_name=*/true);
  model_.Rename("d/bad", "d/good");
  Cut();
  ExpectAllIsThere();
}

TEST_F(RedoShort, ANameIsTriedWithEachCut) {
  test::ForbidNames("bad");
  model_.Make("bad", Kind::kFile, "content");
  Cut();
  ExpectShort("bad", /*by_name=*/true);
  test::ForbidNames("");
  model_.Make("other", Kind::kFile);
  Cut();
  ExpectAllIsThere();
}

TEST_F(RedoShort, OfSeveralNamesTheOthersArePlaced) {
  test::ForbidNames("bad");
  model_.Make("good", Kind::kFile, "content");
  Cut();
  model_.Rename("good", "bad");
  Cut();
  ExpectShort("bad", /*by_name=*/true);
  model_.Remove("bad");
  Cut();
  ExpectAllIsThere();
}

TEST_F(RedoShort, WhatCannotGetAnotherLinkIsWrittenAllTheSame) {
  model_.Make("file", Kind::kFile, "content");
  Cut();
  test::ForbidLinks(true);
  model_.Link("file", "link");
  model_.Write("file", 0, "changed");
  Cut();
  ExpectShort("file", /*by_name=*/true);
  test::ForbidLinks(false);
  model_.Make("other", Kind::kFile);
  Cut();
  ExpectAllIsThere();
}

TEST_F(RedoShort, AFileTooLargeKeepsTheContentOfTheCutBeforeThoughBothAreRedoneAsOne) {
  model_.Make("file", Kind::kFile, "old");
  Cut();
  const std::string old = On("file");
  std::vector<Record> records = {ObjectRecord{model_.At("file"), false, false,
                                              model_.objects.at(model_.At("file")).attributes}};
  std::get<ObjectRecord>(records.front()).attributes.size = kTooLarge;
  CutWith(records);
  ExpectShort("file", /*by_name=*/false);
  EXPECT_EQ(On("file"), old);
  // The catalog may not have been kept: both cuts are redone, or neither.
  Restart();
  ExpectShort("file", /*by_name=*/false);
  EXPECT_EQ(On("file"), old);
  // Increments do not count.
  model_.Write("file", 1, "xyz");
  Cut();
  ExpectShort("file", /*by_name=*/false);
  EXPECT_EQ(On("file"), old);
  CutWith(Whole("file"));
  ExpectAllIsThere();
}

TEST_F(RedoShort, ANewFileTooLargeIsEmptyAndGoesWhenItIsRemoved) {
  model_.Make("file", Kind::kFile, "content");
  std::vector<Record> records = RecordsBetween(shipped_, model_, random_);
  for (Record& record : records) {
    auto* const object = std::get_if<ObjectRecord>(&record);
    if (object != nullptr && object->object == model_.At("file")) {
      object->attributes.size = kTooLarge;
    }
  }
  CutWith(records);
  ExpectShort("file", /*by_name=*/false);
  EXPECT_EQ(std::filesystem::file_size(Tree() + "/file"), 0u);
  model_.Remove("file");
  model_.Make("file", Kind::kDirectory);
  Cut();
  ExpectAllIsThere();
}

}  // namespace
}  // namespace tandem::replica
