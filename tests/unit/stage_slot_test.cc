#include "replica/store/stage_slot.h"

#include <gtest/gtest.h>

#include "replica/store/tuning.h"
#include "tests/unit/volume_parts.h"

namespace tandem::replica {
namespace {

using StageSlotTest = VolumeParts;

TEST_F(StageSlotTest, OnlyTheLastStagesThatEndedAreKnown) {
  StageSlot slot;
  EXPECT_EQ(slot.End(), nullptr);
  for (uint64_t i = 0; i <= kMaxEndedStages; ++i) {
    auto stage = Stage::Create(place_->stage_fd(), VolumeId(1, 1), CutId(1, i), Cut(1)).value();
    slot.Put(stage, stage->id());
    EXPECT_EQ(slot.Find(stage->id()), stage);
    EXPECT_FALSE(slot.HasEnded(stage->id()));
    EXPECT_EQ(slot.End(), stage);
    EXPECT_EQ(slot.Find(stage->id()), nullptr);
  }
  EXPECT_FALSE(slot.HasEnded(CutId(1, 0)));
  EXPECT_TRUE(slot.HasEnded(CutId(1, 1)));
  EXPECT_TRUE(slot.HasEnded(CutId(1, kMaxEndedStages)));
}

TEST_F(StageSlotTest, AStageThatIsPassedOnBelongsToOneAttempt) {
  StageSlot slot;
  const auto stage = Stage::Create(place_->stage_fd(), VolumeId(1, 1), CutId(1, 1), Cut(1)).value();
  slot.Put(stage, CutId(1, 1));
  slot.PassOn(CutId(), nullptr);
  EXPECT_EQ(slot.Find(CutId(1, 1)), nullptr);
  EXPECT_EQ(slot.Find(CutId()), nullptr);
  EXPECT_EQ(slot.Open(), stage);
  EXPECT_TRUE(slot.HasEnded(CutId(1, 1)));
  const auto index = std::make_shared<const StagedIndex>();
  slot.PassOn(CutId(2, 2), index);
  EXPECT_EQ(slot.Find(CutId(2, 2)), stage);
  EXPECT_EQ(slot.IndexOf(CutId(2, 2)), index);
  EXPECT_EQ(slot.IndexOf(CutId(1, 1)), nullptr);
  EXPECT_EQ(slot.End(), stage);
  EXPECT_EQ(slot.IndexOf(CutId(2, 2)), nullptr);
  EXPECT_EQ(slot.IndexOf(CutId()), nullptr);
  EXPECT_FALSE(slot.HasEnded(CutId()));
}

}  // namespace
}  // namespace tandem::replica
