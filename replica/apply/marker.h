// STORE/VOLUME/applied: what people and programs that read tree/ may rely on, as one JSON object:
//   {"state": "seeding" | "applying" | "applied", "volume": UUID, "name": NAME, "epoch": N,
//    "cut": ID, "wall_time_ns": N, "boot": ID, "writing": ID}
// applied: the tree equals the source at that cut. applying: it is on its way from that cut to the
// next. seeding: it has never been whole. A marker with another boot id than
// /proc/sys/kernel/random/boot_id was written before a crash or a shutdown of the machine: it says
// nothing until tandemd has started again; nor does one from before its filesystem was last
// mounted. `writing` differs each time: a tree that was applied, changed and applied once more
// between two looks does not look untouched. Another file each time, put in place at once:
// a reader sees one or the other. On a full disk two files take turns, applied and applied.spare,
// which were made in time. Blanks fill it up, so that one takes the place of the other.
#pragma once

#include <optional>
#include <string>

#include "meta/base/ids.h"
#include "meta/base/result.h"
#include "replica/apply/catalog.h"

namespace tandem::replica {

// STORE/VOLUME/volume: {"format": 1, "volume": UUID, "name": NAME}. Written once.
struct VolumeIdentity {
  VolumeId volume;
  std::string name;
};

Status WriteIdentity(int volume_fd, const VolumeIdentity& identity);
// kCorrupt if it makes no sense, ENOENT if there is none.
Result<VolumeIdentity> ReadIdentity(int volume_fd);

enum class TreeState { kSeeding, kApplying, kApplied };

struct Marker {
  VolumeIdentity identity;
  TreeState state = TreeState::kSeeding;
  AppliedCut cut;
};

// `durably`: on stable storage when it returns. A crash leaves the one before, the new one, or,
// where no stage leads to what it says, one that cannot be read.
Status WriteMarker(int volume_fd, const Marker& marker, bool durably = false);
// Makes the spare file, unless it is there; from then on a marker can be written on a full disk.
Status PrepareMarker(int volume_fd, const VolumeIdentity& identity);
// nullopt: there is none, or it makes no sense.
std::optional<Marker> ReadMarker(int volume_fd);

}  // namespace tandem::replica
