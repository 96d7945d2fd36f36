#include "replica/store/stage_recovery.h"

#include <gtest/gtest.h>

#include "tests/unit/volume_parts.h"

namespace tandem::replica {
namespace {

using Stages = RecoveredStages::Stages;

class StageRecovery : public VolumeParts {
 protected:
  static RecoveredStages Sort(const Stages& stages, const CutName& applied) {
    return SortStages("vol", stages, {applied});
  }
};

TEST_F(StageRecovery, StagesFollowByTheirBasesNotByTheirNumbers) {
  const auto second = StageTo(Cut(2), Cut(1));
  const auto thin = StageTo(SetOfNoMoment(1), Cut(2));
  const auto last = StageTo(Cut(7), SetOfNoMoment(1));
  const RecoveredStages sorted = Sort({thin, second, last}, Cut(1));
  EXPECT_EQ(sorted.pending, (Stages{second, thin, last}));
  EXPECT_EQ(sorted.durable.name, Cut(7));
  EXPECT_TRUE(sorted.unsynced.empty());
  EXPECT_TRUE(sorted.astray.empty());
}

TEST_F(StageRecovery, WhatTheCatalogHasIsOnlyKept) {
  const auto thin = StageTo(SetOfNoMoment(1), Cut(1));
  const auto second = StageTo(Cut(2), SetOfNoMoment(1));
  const auto third = StageTo(Cut(3), Cut(2));
  const RecoveredStages sorted = Sort({thin, second, third}, Cut(2));
  EXPECT_EQ(sorted.unsynced, (Stages{second, thin}));
  EXPECT_EQ(sorted.pending, Stages{third});
  EXPECT_TRUE(sorted.astray.empty());
}

TEST_F(StageRecovery, StagesBehindOneThatIsGoneAreAstray) {
  const auto second = StageTo(Cut(2), Cut(1));
  const auto fourth = StageTo(Cut(4), Cut(3));
  const RecoveredStages sorted = Sort({second, fourth}, Cut(1));
  EXPECT_EQ(sorted.pending, Stages{second});
  EXPECT_EQ(sorted.durable.name, Cut(2));
  EXPECT_EQ(sorted.astray, Stages{fourth});
}

}  // namespace
}  // namespace tandem::replica
