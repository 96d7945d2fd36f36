#include "replica/apply/kept_bases.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "replica/apply/file_data.h"
#include "tests/unit/replica_client.h"

namespace tandem::replica {
namespace {

constexpr size_t kLarge = 100'000;

class KeptBasesTest : public testing::Test {
 protected:
  KeptBasesTest() { EXPECT_TRUE(kept_.Open(stage_.get())); }

  std::string Write(const std::string& name, size_t size, char byte = 'x') {
    std::ofstream(scratch_.path() + "/" + name) << std::string(size, byte);
    return name;
  }
  bool IsThere(const std::string& name) const {
    return std::filesystem::exists(scratch_.path() + "/" + name);
  }
  size_t CountKept() const {
    const std::filesystem::directory_iterator all(scratch_.path() + "/kept");
    return static_cast<size_t>(std::distance(begin(all), end(all)));
  }
  char FirstOf(const UniqueFd& fd) {
    return fd.valid() ? ReadUpTo(fd.get(), 0, 1).value().at(0) : '-';
  }

  ScratchDirectory scratch_;
  const UniqueFd stage_{open(scratch_.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  std::shared_ptr<KeptBudget> budget_ = std::make_shared<KeptBudget>(3 * kLarge, 0);
  KeptBases kept_{budget_};
  const ObjectId a_{1, 1}, b_{2, 2}, c_{3, 3}, d_{4, 4};
};

TEST_F(KeptBasesTest, HasTheNewestOfEachObject) {
  ASSERT_TRUE(kept_.Take(stage_.get(), Write("one", kLarge, '1'), a_));
  EXPECT_FALSE(IsThere("one"));
  ASSERT_TRUE(kept_.Take(stage_.get(), Write("two", kLarge, '2'), a_));
  EXPECT_EQ(CountKept(), 1u);
  EXPECT_EQ(FirstOf(kept_.Find(a_)), '2');
  EXPECT_FALSE(kept_.Find(b_).valid());
}

TEST_F(KeptBasesTest, LeavesWhatIsOfNoUse) {
  EXPECT_FALSE(kept_.Take(stage_.get(), Write("small", 1000), a_));
  EXPECT_FALSE(kept_.Take(stage_.get(), Write("huge", 10 * kLarge), a_));
  EXPECT_FALSE(kept_.Take(stage_.get(), "absent", a_));
  EXPECT_FALSE(kept_.Take(stage_.get(), Write("unknown", kLarge), ObjectId()));
  Write("named twice", kLarge);
  std::filesystem::create_hard_link(scratch_.path() + "/named twice", scratch_.path() + "/again");
  EXPECT_FALSE(kept_.Take(stage_.get(), "again", a_));
  std::filesystem::create_symlink("named twice", scratch_.path() + "/symlink");
  EXPECT_FALSE(kept_.Take(stage_.get(), "symlink", a_));
  EXPECT_EQ(CountKept(), 0u);
  EXPECT_TRUE(IsThere("again"));
  EXPECT_TRUE(IsThere("small"));
}

TEST_F(KeptBasesTest, DropsTheOldestBeyondTheBudget) {
  for (const ObjectId& object : {a_, b_, c_, d_}) {
    ASSERT_TRUE(kept_.Take(stage_.get(), Write("file", kLarge), object));
  }
  EXPECT_FALSE(kept_.Find(a_).valid());
  EXPECT_TRUE(kept_.Find(d_).valid());
  EXPECT_LT(CountKept(), 4u);
}

TEST_F(KeptBasesTest, GoesForAnotherVolumeOfTheStore) {
  ASSERT_TRUE(kept_.Take(stage_.get(), Write("file", kLarge), a_));
  EXPECT_FALSE(budget_->IsEmpty());
  KeptBases other(budget_);
  other.DropAll();
  EXPECT_EQ(CountKept(), 0u);
  EXPECT_TRUE(budget_->IsEmpty());
  EXPECT_FALSE(kept_.Find(a_).valid());
}

TEST_F(KeptBasesTest, IsPreferredWhereTheFileDoesNotReach) {
  ASSERT_TRUE(kept_.Take(stage_.get(), Write("old", kLarge, 'o'), a_));
  const auto standing = [&] {
    return UniqueFd(open((scratch_.path() + "/" + Write("new", 70'000, 'n')).c_str(), O_RDONLY));
  };
  EXPECT_EQ(FirstOf(kept_.Reaching(70'000, a_, standing())), 'n');
  EXPECT_EQ(FirstOf(kept_.Reaching(70'001, a_, standing())), 'o');
  EXPECT_EQ(FirstOf(kept_.Reaching(70'001, b_, standing())), 'n');
  EXPECT_EQ(FirstOf(kept_.Reaching(1, a_, UniqueFd())), 'o');
}

TEST_F(KeptBasesTest, NothingStaysAfterwards) {
  ASSERT_TRUE(kept_.Take(stage_.get(), Write("file", kLarge), a_));
  Write("kept/left by a killed daemon", kLarge);
  KeptBases next(budget_);
  ASSERT_TRUE(next.Open(stage_.get()));
  EXPECT_EQ(CountKept(), 0u);
  EXPECT_TRUE(next.Take(stage_.get(), Write("file", kLarge), a_));
  KeptBases none(nullptr);
  ASSERT_TRUE(none.Open(stage_.get()));
  EXPECT_FALSE(none.keeps());
  EXPECT_FALSE(none.Take(stage_.get(), Write("file", kLarge), a_));
}

}  // namespace
}  // namespace tandem::replica
