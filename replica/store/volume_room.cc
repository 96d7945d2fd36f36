// A volume whose disk is full, or nearly: what cannot be redone for lack of room is not committed,
// and what is committed on top of a cut that cannot be applied yet may make room for both.
#include <sys/stat.h>

#include "meta/base/log.h"
#include "replica/apply/room.h"
#include "replica/apply/spare_file.h"
#include "replica/apply/spare_objects.h"
#include "replica/store/volume.h"
#include "replica/store/volume_replies.h"

namespace tandem::replica {
namespace {

constexpr uint64_t kMiB = 1 << 20;

// So much more than is needed is plenty: nothing is measured then, and nothing claimed.
constexpr uint64_t kManyTimes = 8;
constexpr uint64_t kPlentyBytes = 64 * kMiB;
constexpr uint64_t kPlentyInodes = 1000;

bool IsPlenty(const Room& free, const Room& need) {
  return free.bytes / kManyTimes > need.bytes &&
         free.bytes > kManyTimes * need.bytes + kPlentyBytes &&
         free.inodes / kManyTimes > need.inodes && free.inodes > kPlentyInodes;
}

bool Fits(const Room& need, const Room& room) {
  return need.bytes <= room.bytes && need.inodes <= room.inodes;
}

Room Sum(const Room& a, const Room& b) {
  const uint64_t inodes = a.inodes + b.inodes;
  return {a.bytes + b.bytes, inodes < a.inodes ? a.inodes : inodes};
}

std::string InWords(const Room& room) {
  return std::to_string((room.bytes + kMiB - 1) / kMiB) + " MiB and " +
         std::to_string(room.inodes) + " inodes";
}

}  // namespace

void Volume::MakeSpares() {
  const auto marker = PrepareMarker(fd_.get(), identity_);
  const auto stage = Stage::MakeSpares(stage_fd_.get());
  const auto objects = MakeSpareObjects(stage_fd_.get());
  for (const auto& made : {marker, stage, objects}) {
    if (made || MeansNoRoom(made.error())) continue;
    LogWarning("volume {}: {}", identity_.name, made.error().ToString());
  }
  catalog_->ClaimRoom();
}

bool Volume::MustKeepFirst() {
  uint64_t bytes = 0;
  {
    MutexLock lock(mutex_);
    if (pending_.empty() || unsynced_.empty()) return false;
    for (const auto& stage : pending_) bytes += stage->file_bytes();
  }
  const auto free = FreeRoom(fd_.get());
  return !free || !IsPlenty(*free, {bytes, 0});
}

Reply Volume::RefuseForRoom(const Room& need, const Room& free) const {
  return Refuse(ReplyCode::kNoSpace,
                "volume " + identity_.name + " of the replica: to apply the cut takes " +
                    InWords(need) + " beside its stage, and " + InWords(free) +
                    " are free on the filesystem of " + path_ + ": free space there");
}

std::optional<Reply> Volume::EnsureRoom(Plan& plan,
                                        const std::vector<std::shared_ptr<Stage>>& stages,
                                        bool may_count_on_freed) {
  const auto free = FreeRoom(fd_.get());
  if (!free) return Failure(free.error());
  if (IsPlenty(*free, MostNeeded(plan, stages))) return std::nullopt;
  Tree tree(root_fd_.get(), hold_fd_.get(), *catalog_);
  const auto need = MeasureNeed(plan, stages, tree, CountSpareObjects(stage_fd_.get()));
  if (!need) return Failure(need.error());
  if (may_count_on_freed) {
    const auto freed = MeasureFreed(plan, stages, tree);
    if (!freed) return Failure(freed.error());
    if (Fits(*need, Sum(*free, *freed))) return std::nullopt;
    return RefuseForRoom(*need, Sum(*free, *freed));
  }
  if (need->bytes > free->bytes || need->inodes > free->inodes) return RefuseForRoom(*need, *free);
  auto held = stages.back()->HoldRoom(need->bytes);
  if (held) return std::nullopt;
  if (MeansNoRoom(held.error())) return RefuseForRoom(*need, *free);
  return Failure(held.error());
}

// A set of no moment leaves the tree at no cut: not for nothing.
std::optional<Reply> Volume::CheckThatItFrees(Plan& plan, const std::shared_ptr<Stage>& stage) {
  Tree tree(root_fd_.get(), hold_fd_.get(), *catalog_);
  const auto freed = MeasureFreed(plan, {stage}, tree);
  if (!freed) return Failure(freed.error());
  if (freed->bytes != 0 || freed->inodes != 0) return std::nullopt;
  return Refuse(ReplyCode::kNoSpace, "volume " + identity_.name +
                                         " of the replica: what was removed at the source makes no "
                                         "room: free space on the filesystem of " +
                                         path_);
}

bool Volume::IsBlockedForRoom() {
  MutexLock lock(mutex_);
  return !pending_.empty() && blocked_ && MeansNoRoom(*blocked_);
}

// Nothing can be read meanwhile, so that all it speaks of has to be in it, or known. The redo
// waits: it would begin without the stage.
std::optional<Reply> Volume::CommitOnBlocked(const Commit& commit,
                                             const std::shared_ptr<Stage>& stage) {
  if (!IsBlockedForRoom()) return std::nullopt;
  MutexLock catalog_lock(catalog_mutex_);
  if (const auto done = RedoWhatWasLost(); !done) return Failure(done.error());
  if (!IsBlockedForRoom()) return std::nullopt;  // applied meanwhile
  std::vector<std::shared_ptr<Stage>> stages;
  {
    MutexLock lock(mutex_);
    if (stage->base() != durable_.name) return RefuseWrongBase(stage->base(), durable_.name);
    stages = pending_;
  }
  auto before = Plan::Make(stages, *catalog_, largest_file_);
  if (!before) return Failure(before.error());
  const std::vector<std::shared_ptr<Stage>> blocked = stages;
  stages.push_back(stage);
  auto plan = Plan::Make(stages, *catalog_, largest_file_);
  if (!plan) return Failure(plan.error());
  if (!(*plan)->missing().empty()) {
    MutexLock lock(mutex_);
    return BusyReply();
  }
  if (auto refusal = EnsureRoom(**plan, stages, /*may_count_on_freed=*/true)) {
    // It must not make things worse.
    Tree tree(root_fd_.get(), hold_fd_.get(), *catalog_);
    const auto need = MeasureNeed(**plan, stages, tree, 0);
    const auto needed = MeasureNeed(**before, blocked, tree, 0);
    const auto freed = MeasureFreed(**plan, stages, tree);
    const auto freed_before = MeasureFreed(**before, blocked, tree);
    if (!need || !needed || !freed || !freed_before) return *refusal;
    const bool better = freed->bytes > freed_before->bytes || freed->inodes > freed_before->inodes;
    if (!Fits(*need, *needed) || !better) return *refusal;
  }
  return Promise(commit, stage);
}

}  // namespace tandem::replica
