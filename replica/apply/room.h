// Room on the filesystem of a store: how much there is, how much a redo takes beside its stages,
// and how much it gives back. A plan is measured only where there is little; then what it takes is
// counted exactly: blocks that are there already, to be written over, do not count. One thread.
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

// What this process may have: root also what is kept for it, everybody else no more than their
// quota leaves. No end of inodes where they are not counted.
Result<Room> FreeRoom(int fd);

// True: the object is new, a file, and takes no more than a spare object has.
bool IsSmallNewFile(const Plan::Object& planned, const meta::Attributes& attributes);

// No less than the plan takes, from what is known without looking at the tree.
Room MostNeeded(const Plan& plan, const std::vector<std::shared_ptr<Stage>>& stages);

// What the redo takes, if nothing of what it removes is counted, and so many small new files may
// come of spare objects.
Result<Room> MeasureNeed(Plan& plan, const std::vector<std::shared_ptr<Stage>>& stages, Tree& tree,
                         uint64_t spare_objects);

// What the redo gives back: objects without a name, files that are cut short.
Result<Room> MeasureFreed(Plan& plan, const std::vector<std::shared_ptr<Stage>>& stages,
                          Tree& tree);

// The size that each file of the stages that stays has in the end, or has to be cut to first.
Result<std::vector<std::pair<ObjectId, uint64_t>>> FinalSizes(
    const Plan& plan, const std::vector<std::shared_ptr<Stage>>& stages);

}  // namespace tandem::replica
