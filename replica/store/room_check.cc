#include "replica/store/room_check.h"

#include <string>

#include "meta/base/log.h"
#include "replica/apply/marker.h"
#include "replica/apply/spare_file.h"
#include "replica/apply/spare_objects.h"
#include "replica/store/tuning.h"
#include "replica/store/volume_replies.h"

namespace tandem::replica {
namespace {

constexpr uint64_t kMiB = 1 << 20;

bool IsPlenty(const Room& free, const Room& need) {
  return free.bytes / kPlentyTimes > need.bytes &&
         free.bytes > kPlentyTimes * need.bytes + kPlentyBytes &&
         free.inodes / kPlentyTimes > need.inodes && free.inodes > kPlentyInodes;
}

bool Fits(const Room& need, const Room& room) {
  return need.bytes <= room.bytes && need.inodes <= room.inodes;
}

Room Sum(const Room& a, const Room& b) {
  const uint64_t inodes = a.inodes + b.inodes;
  return {a.bytes + b.bytes, inodes < a.inodes ? a.inodes : inodes};
}

// What is kept for a while goes before there is less than plenty.
Result<Room> FreeRoomFor(const VolumePlace& place, const Room& need) {
  auto free = FreeRoomBeside(place.fd(), place.terms().reserve);
  if (!free || IsPlenty(*free, need) || place.kept().IsEmpty()) return free;
  place.kept().DropAll();
  return FreeRoomBeside(place.fd(), place.terms().reserve);
}

// Says where it is that there is no room, and what to do.
std::string Where(const VolumePlace& place) {
  std::string where = " on the filesystem of " + place.path();
  const auto reserved = BytesReserved(place.fd(), place.terms().reserve);
  if (reserved && *reserved != 0) {
    where += " beside the " + std::to_string(*reserved / kMiB) + " MiB that --reserve keeps";
  }
  return where + ": free space there";
}

std::string InWords(const Room& room) {
  return std::to_string((room.bytes + kMiB - 1) / kMiB) + " MiB and " +
         std::to_string(room.inodes) + " inodes";
}

}  // namespace

void MakeSpares(const VolumePlace& place, Catalog& catalog) {
  const auto marker = PrepareMarker(place.fd(), place.identity());
  const auto stage = Stage::MakeSpares(place.stage_fd());
  const auto objects = MakeSpareObjects(place.stage_fd());
  for (const auto& made : {marker, stage, objects}) {
    if (made || MeansNoRoom(made.error())) continue;
    LogWarning("volume {}: {}", place.name(), made.error().ToString());
  }
  catalog.ClaimRoom();
}

bool HasPlentyFor(const VolumePlace& place, uint64_t bytes) {
  const auto free = FreeRoomFor(place, {bytes, 0});
  return free && IsPlenty(*free, {bytes, 0});
}

std::optional<Reply> RefuseUnlessFree(const VolumePlace& place, uint64_t bytes) {
  if (bytes == 0) return std::nullopt;
  const auto room = FreeRoomFor(place, {bytes, 0});
  if (!room) return place.Failure(room.error());
  const uint64_t free = room->bytes;
  if (bytes <= free) return std::nullopt;
  return Refuse(ReplyCode::kNoSpace,
                "volume " + place.name() + " of the replica: to catch up takes about " +
                    std::to_string((bytes + kMiB - 1) / kMiB) + " MiB beside the tree, and " +
                    std::to_string(free / kMiB) + " MiB are free" + Where(place));
}

std::optional<Reply> RefuseChunk(const VolumePlace& place, const Stage& stage, uint64_t staged,
                                 uint64_t bytes) {
  const bool has_content = bytes != 0;
  const uint64_t file_bytes = stage.file_bytes();
  if (!has_content && file_bytes <= kMostWithoutContent) return std::nullopt;
  const VolumeTerms& terms = place.terms();
  if (terms.usage != nullptr) {
    const uint64_t all = has_content ? staged + bytes : file_bytes;
    if (auto why = terms.usage->RefuseStaged(place.identity().name, all)) {
      return RefuseForQuota(place, *why);
    }
  }
  const bool has_reserve = terms.reserve.bytes != 0 || terms.reserve.percent != 0;
  if (!has_reserve && place.kept().IsEmpty()) return std::nullopt;
  const auto room = FreeRoomFor(place, {bytes, 0});  // what is kept makes way
  if (!has_reserve) return std::nullopt;
  if (!room) return place.Failure(room.error());
  if (room->bytes >= bytes && room->bytes != 0) return std::nullopt;
  return Refuse(ReplyCode::kNoSpace, "volume " + place.name() +
                                         " of the replica: no room is left for the change set" +
                                         Where(place));
}

std::optional<Reply> RefuseRecords(const VolumePlace& place, uint64_t records) {
  const auto& usage = place.terms().usage;
  const auto why = usage == nullptr ? std::nullopt : usage->RefuseRecords(records);
  return why ? std::optional(RefuseForQuota(place, *why)) : std::nullopt;
}

Reply RefuseForQuota(const VolumePlace& place, const std::string& why) {
  return Refuse(ReplyCode::kNoSpace, "volume " + place.name() + " of the replica: " + why);
}

RoomCheck::RoomCheck(const VolumePlace& place, Catalog& catalog)
    : place_(place), tree_(place.root_fd(), place.hold_fd(), catalog) {}

Reply RoomCheck::Refusal(const Room& need, const Room& free) const {
  return Refuse(ReplyCode::kNoSpace, "volume " + place_.name() +
                                         " of the replica: to apply the cut takes " +
                                         InWords(need) + " beside its stage, and " + InWords(free) +
                                         " are free" + Where(place_));
}

std::optional<Reply> RoomCheck::Ensure(Plan& plan, const Stages& stages, bool may_count_on_freed) {
  const Room most = MostNeeded(plan, stages);
  const auto free = FreeRoomFor(place_, most);
  if (!free) return place_.Failure(free.error());
  if (IsPlenty(*free, most)) return std::nullopt;
  const auto need = MeasureNeed(plan, stages, tree_, CountSpareObjects(place_.stage_fd()));
  if (!need) return place_.Failure(need.error());
  if (may_count_on_freed) {
    const auto freed = MeasureFreed(plan, stages, tree_);
    if (!freed) return place_.Failure(freed.error());
    if (Fits(*need, Sum(*free, *freed))) return std::nullopt;
    return Refusal(*need, Sum(*free, *freed));
  }
  if (!Fits(*need, *free)) return Refusal(*need, *free);
  auto held = stages.back()->HoldRoom(need->bytes);
  if (held) return std::nullopt;
  if (MeansNoRoom(held.error())) return Refusal(*need, *free);
  return place_.Failure(held.error());
}

std::optional<Reply> RoomCheck::CheckThatItFrees(Plan& plan, const std::shared_ptr<Stage>& stage) {
  const auto freed = MeasureFreed(plan, {stage}, tree_);
  if (!freed) return place_.Failure(freed.error());
  if (freed->bytes != 0 || freed->inodes != 0) return std::nullopt;
  return Refuse(ReplyCode::kNoSpace, "volume " + place_.name() +
                                         " of the replica: what was removed at the source makes no "
                                         "room: free space on the filesystem of " +
                                         place_.path());
}

std::optional<Reply> RoomCheck::EnsureOnTop(Plan& plan, const Stages& stages, Plan& before,
                                            const Stages& blocked) {
  auto refusal = Ensure(plan, stages, /*may_count_on_freed=*/true);
  if (!refusal) return std::nullopt;
  const auto need = MeasureNeed(plan, stages, tree_, 0);
  const auto need_before = MeasureNeed(before, blocked, tree_, 0);
  const auto freed = MeasureFreed(plan, stages, tree_);
  const auto freed_before = MeasureFreed(before, blocked, tree_);
  if (!need || !need_before || !freed || !freed_before) return refusal;
  const bool better = freed->bytes > freed_before->bytes || freed->inodes > freed_before->inodes;
  if (!Fits(*need, *need_before) || !better) return refusal;
  return std::nullopt;
}

}  // namespace tandem::replica
