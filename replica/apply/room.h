// Room on the filesystem of a store: how much is free, how much a redo takes in addition to its
// stages, and how much it gives back. A plan is measured only if there is little room. Then its
// need is counted exactly, and blocks that exist already and are overwritten do not count. One
// thread.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "meta/base/result.h"
#include "replica/apply/plan.h"
#include "replica/apply/stage.h"
#include "replica/apply/tree.h"

namespace tandem::replica {

struct Room {
  uint64_t bytes = 0;
  uint64_t inodes = 0;
};

// Returns the room that this process may use: for root including the filesystem's reserve, for
// other users no more than their quota leaves. Inodes are unlimited if the filesystem does not
// count them.
Result<Room> FreeRoom(int fd);

// Returns true if the object is a new file that fits into a spare object.
bool IsSmallNewFile(const Plan::Object& planned, const meta::Attributes& attributes);

// Returns an upper bound of what the plan takes, without looking at the tree.
Room MostNeeded(const Plan& plan, const std::vector<std::shared_ptr<Stage>>& stages);

// Returns what the redo takes, without counting what it frees, if up to `spare_objects` small new
// files can be made of spare objects.
Result<Room> MeasureNeed(Plan& plan, const std::vector<std::shared_ptr<Stage>>& stages, Tree& tree,
                         uint64_t spare_objects);

// Returns what the redo gives back: objects without a name, and files that become shorter.
Result<Room> MeasureFreed(Plan& plan, const std::vector<std::shared_ptr<Stage>>& stages,
                          Tree& tree);

// Returns, for each file of the stages that is kept, the smallest size that the redo gives it.
Result<std::vector<std::pair<ObjectId, uint64_t>>> FinalSizes(
    const Plan& plan, const std::vector<std::shared_ptr<Stage>>& stages);

}  // namespace tandem::replica
