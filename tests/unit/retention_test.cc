// What is remembered for a replica that is away does not grow with the number of cuts.
#include "replica/source/retention.h"

#include <gtest/gtest.h>

#include "tests/unit/tracked_directory.h"

namespace tandem::replica {
namespace {

class RetentionTest : public testing::Test {
 protected:
  void SetUp() override { directory_.CreateFile("file"); }

  meta::Tracker& tracker() { return directory_.tracker(); }
  CutName Cut() {
    directory_.Write("file", 0, "changed");
    const auto cut = tracker().TakeCut(Epoch());
    EXPECT_TRUE(cut) << cut.error().ToString();
    return (*cut)->cut().name;
  }
  // As another replica follows all these cuts.
  void CutManyTimes(Retention& retention) {
    for (int i = 0; i < 200; ++i) {
      retention.Hold("here", Cut().epoch);
      ASSERT_TRUE(retention.Drop());
    }
  }
  size_t Rows() const { return directory_.Inspect().LoadCuts().value().size(); }

  meta::TrackedDirectory directory_;
};

TEST_F(RetentionTest, CutsThatAReplicaMayHaveStayKnownAndOthersDoNot) {
  Retention retention(tracker());
  Cut();
  const CutName applied = Cut();
  retention.Hold("away", applied.epoch);
  const CutName superseded = Cut();
  retention.NoteCut("away", superseded.epoch);
  const CutName committed = Cut();
  retention.NoteCut("away", committed.epoch);
  retention.NoteCommit("away");
  const CutName under_way = Cut();
  retention.NoteCut("away", under_way.epoch);
  CutManyTimes(retention);
  EXPECT_LT(Rows(), 60u);
  EXPECT_TRUE(tracker().Knows(applied));
  EXPECT_TRUE(tracker().Knows(committed)) << "its answer may have been lost";
  EXPECT_TRUE(tracker().Knows(under_way));
  EXPECT_FALSE(tracker().Knows(superseded));
  const ObjectId file = directory_.Find("file").id;
  EXPECT_FALSE(tracker().ChangesAfter(committed.epoch, file).empty());
  // It says where it is.
  retention.Hold("away", committed.epoch);
  CutManyTimes(retention);
  EXPECT_TRUE(tracker().Knows(committed));
  EXPECT_FALSE(tracker().Knows(applied));
  EXPECT_FALSE(tracker().Knows(under_way));
}

TEST_F(RetentionTest, CutsOfEarlierRunsStayKnownUntilTheReplicaSaysWhereItIs) {
  CutName applied, committed;
  {
    Retention retention(tracker());
    applied = Cut();
    retention.Hold("away", applied.epoch);
    committed = Cut();
    retention.NoteCut("away", committed.epoch);
    retention.NoteCommit("away");
    CutManyTimes(retention);
  }
  directory_.Crash();
  directory_.Start();
  Retention retention(tracker());
  retention.Hold("away", applied.epoch);
  CutManyTimes(retention);
  EXPECT_TRUE(tracker().Knows(applied));
  EXPECT_TRUE(tracker().Knows(committed));
  EXPECT_LT(Rows(), 120u);
  retention.Hold("away", committed.epoch);
  ASSERT_TRUE(retention.Drop());
  EXPECT_TRUE(tracker().Knows(committed));
  EXPECT_FALSE(tracker().Knows(applied));
}

}  // namespace
}  // namespace tandem::replica
