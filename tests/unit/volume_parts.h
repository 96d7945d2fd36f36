// The parts of a volume that hold its state, in a scratch directory, without its threads. For tests
// of one part.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>

#include <memory>

#include "replica/hash.h"
#include "replica/store/apply_queue.h"
#include "replica/store/volume_place.h"
#include "replica/store/volume_report.h"
#include "replica/store/write_session.h"
#include "tests/unit/replica_client.h"

namespace tandem::replica {

class VolumeParts : public testing::Test {
 protected:
  static CutName Cut(uint64_t number) { return {Epoch(number), CutId(5, number)}; }
  static CutName SetOfNoMoment(uint64_t number) { return {Epoch(), CutId(6, number)}; }
  // An empty stage from one cut to another, committed.
  std::shared_ptr<Stage> StageTo(const CutName& cut, const CutName& base) {
    auto stage =
        Stage::Create(place_->stage_fd(), place_->identity().volume, CutId::Random(), base).value();
    EXPECT_TRUE(stage->Commit({cut, 0, 0, ChecksumOf("")}));
    return stage;
  }

  ScratchDirectory scratch_;
  std::unique_ptr<VolumePlace> place_ =
      VolumePlace::Open(UniqueFd(open(scratch_.path().c_str(), O_RDONLY | O_DIRECTORY)),
                        scratch_.path(), {VolumeId(1, 1), "vol"})
          .value();
  VolumeReport report_{*place_};
  WriteSession session_{"vol"};
  ApplyQueue queue_{*place_, session_, report_};
};

}  // namespace tandem::replica
