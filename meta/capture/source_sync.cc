#include "meta/capture/source_sync.h"

#include <algorithm>
#include <optional>
#include <string>

#include "meta/base/fault_point.h"
#include "meta/base/log.h"

namespace tandem::meta {

Status SourceSync::Sync(Epoch newest_cut) {
  // An alteration that is under way now has been in cuts since the epoch in which it began, and is
  // not wholly synced.
  const std::optional<Epoch> under_way = straddlers_.Oldest();
  FAULT_POINT("source.sync.before");
  if (Status status = tree_.Sync(); !status) {
    // The kernel may have thrown away what it could not write: the next start must compare.
    LogError("{}", status.error().ToString());
    RETURN_IF_ERROR(
        writer_.Do([](StateDatabase& database) { return database.Put(kDiskFailedKey, "yes"); },
                   StateWriter::Durability::kPowerCut));
    return status;
  }
  ++syncs_;
  FAULT_POINT("source.sync.after");
  Epoch synced = newest_cut;
  if (under_way) synced = std::min(synced, Epoch(under_way->number() - 1));
  if (synced <= this->synced()) return {};
  const Epoch dropped(std::min(dropped_.load(), synced.number()));
  RETURN_IF_ERROR(writer_.Do([synced, dropped](StateDatabase& database) -> Status {
    RETURN_IF_ERROR(database.Put(kSyncedEpochKey, std::to_string(synced.number())));
    return database.DropDirty(dropped);
  }));
  synced_ = synced.number();
  return {};
}

void SourceSync::NoteDropped(Epoch epoch) {
  uint64_t known = dropped_.load();
  while (known < epoch.number() && !dropped_.compare_exchange_weak(known, epoch.number())) {
  }
}

}  // namespace tandem::meta
