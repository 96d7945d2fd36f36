// STORE/VOLUME/applied, the marker: what users and programs that read tree/ may rely on. It is one
// JSON object:
//   {"state": "seeding" | "applying" | "applied", "volume": UUID, "name": NAME, "epoch": N,
//    "cut": ID, "wall_time_ns": N, "boot": ID, "writing": ID}
// applied: the tree equals the source at that cut. applying: the tree is between that cut and the
// next. seeding: the tree has never been at a cut, or no longer is.
//
// A marker whose boot id differs from /proc/sys/kernel/random/boot_id was written before a crash or
// a shutdown of the machine. It says nothing until tandemd has started again; nor does a marker
// from before its filesystem was last mounted. `writing` differs each time, so a reader notices if
// the tree was changed and applied again between two looks.
//
// Each marker is a new file that is renamed into place, so a reader sees either the old or the new
// one. On a full disk two files made in advance, applied and applied.spare, are exchanged instead.
// All markers of a volume are filled up with blanks to the same size, so that one fits into the
// other's blocks.
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
// Returns kCorrupt if the file is malformed, and ENOENT if there is none.
Result<VolumeIdentity> ReadIdentity(int volume_fd);

enum class TreeState { kSeeding, kApplying, kApplied };
// Returns the word that the marker has for it.
const char* NameOf(TreeState state);

struct Marker {
  VolumeIdentity identity;
  TreeState state = TreeState::kSeeding;
  AppliedCut cut;
};

// If `durably` is true, the marker is on stable storage when this returns. A crash leaves the
// previous marker, the new one, or, if no stage leads to its cut, one that cannot be read.
Status WriteMarker(int volume_fd, const Marker& marker, bool durably = false);
// Makes the spare file unless it is there. From then on a marker can be written on a full disk.
Status PrepareMarker(int volume_fd, const VolumeIdentity& identity);
// Returns nullopt if there is no marker or it is malformed.
std::optional<Marker> ReadMarker(int volume_fd);

}  // namespace tandem::replica
