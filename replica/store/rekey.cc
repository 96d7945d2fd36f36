#include "replica/store/rekey.h"

#include "replica/store/redo_pause.h"
#include "replica/store/volume_replies.h"
#include "replica/wire/imported.h"

namespace tandem::replica {
namespace {

// A device is made anew instead, because that takes a right.
bool MayStay(meta::Kind kind) {
  return kind != meta::Kind::kCharDevice && kind != meta::Kind::kBlockDevice;
}

Status RekeyOne(Catalog& catalog, const Rekey::Pair& pair) {
  const bool possible =
      !pair.after.is_null() && pair.after != kRootObject && pair.before != kRootObject;
  if (!possible) return {};
  ASSIGN_OR_RETURN(const auto row, catalog.Find(pair.before));
  if (!row || !IsPlaceholder(row->attributes, row->changed)) return {};
  if (!MayStay(row->attributes.kind)) return {};
  ASSIGN_OR_RETURN(const auto taken, catalog.FindKind(pair.after));
  if (taken) return {};
  return catalog.Rekey(pair.before, pair.after, Epoch(row->changed.number() + kRekeyed));
}

Status RekeyAll(Catalog& catalog, const Rekey& rekey) {
  ASSIGN_OR_RETURN(Savepoint part, catalog.Begin());
  for (const Rekey::Pair& pair : rekey.pairs) RETURN_IF_ERROR(RekeyOne(catalog, pair));
  return part.Release();
}

}  // namespace

Reply TakeRekey(const Rekey& rekey, const VolumePlace& place, ApplyQueue& queue,
                KeptCatalog& kept) {
  const RedoPause pause(queue);
  if (pause.refusal()) return *pause.refusal();
  const KeptCatalog::Lock lock(kept);
  if (auto refusal = kept.RefuseUnlessCurrent()) return *refusal;
  if (!queue.applied().IsNowhere()) {
    return Refuse(ReplyCode::kBadRequest, "other ids for a replica that is at a cut");
  }
  const auto done = RekeyAll(kept.catalog(), rekey);
  return done ? Ok() : place.Failure(done.error());
}

}  // namespace tandem::replica
