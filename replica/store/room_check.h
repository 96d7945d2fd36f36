// Room on a volume's disk: what cannot be redone for lack of room is not committed, and what is
// committed on top of a cut that cannot be applied yet has to make room for both
// (replica/STORE.md, "Room").
//
// Any thread. Called with the lock of the KeptCatalog held where a Catalog is passed. Arguments are
// borrowed for the call; those of RoomCheck's constructor for its life.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "replica/apply/catalog.h"
#include "replica/apply/plan.h"
#include "replica/apply/room.h"
#include "replica/apply/stage.h"
#include "replica/apply/tree.h"
#include "replica/store/volume_place.h"
#include "replica/wire/messages.h"

namespace tandem::replica {

// Makes the files of which there is always to be one, as far as there is room.
void MakeSpares(const VolumePlace& place, Catalog& catalog);
// Returns whether so much more than `bytes` is free that it need not be measured.
bool HasPlentyFor(const VolumePlace& place, uint64_t bytes);
// Returns the refusal of a stage of which so many bytes are expected, if they are not free. The old
// tree stays until the new change set is whole, so both need room; it is better said before
// anything is sent than when the disk is full.
std::optional<Reply> RefuseUnlessFree(const VolumePlace& place, uint64_t bytes);
// Returns the refusal of a chunk with `bytes` of content if its stage, which has `staged` already,
// grows beyond what the account's quota or the reserve leaves. What has no content may make room,
// and is let in.
std::optional<Reply> RefuseChunk(const VolumePlace& place, const Stage& stage, uint64_t staged,
                                 uint64_t bytes);
// Returns the refusal of a stage of so many records.
std::optional<Reply> RefuseRecords(const VolumePlace& place, uint64_t records);
// `why` is that of an AccountUsage.
Reply RefuseForQuota(const VolumePlace& place, const std::string& why);

// Checks plans that are made of one catalog. Each call returns a refusal, or nullopt if there is
// room.
class RoomCheck {
 public:
  using Stages = std::vector<std::shared_ptr<Stage>>;

  RoomCheck(const VolumePlace& place, Catalog& catalog);

  // Refuses what there is no room to redo, and claims the room of the last stage if there is
  // little. `may_count_on_freed`: the tree is at no cut, or stands between two, in any case.
  std::optional<Reply> Ensure(Plan& plan, const Stages& stages, bool may_count_on_freed);
  // Refuses a set of no moment that frees nothing: it leaves the tree at no cut.
  std::optional<Reply> CheckThatItFrees(Plan& plan, const std::shared_ptr<Stage>& stage);
  // `plan` is that of the blocked stages and one on top, `before` that of the blocked ones alone.
  // Refuses it if both together do not fit, unless the stage on top makes things better.
  std::optional<Reply> EnsureOnTop(Plan& plan, const Stages& stages, Plan& before,
                                   const Stages& blocked);

 private:
  Reply Refusal(const Room& need, const Room& free) const;

  const VolumePlace& place_;
  Tree tree_;
};

}  // namespace tandem::replica
