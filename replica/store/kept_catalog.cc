#include "replica/store/kept_catalog.h"

#include <cstdio>
#include <ctime>

#include "meta/base/fault_point.h"
#include "meta/base/log.h"
#include "meta/base/printable.h"
#include "replica/apply/tree_path.h"

namespace tandem::replica {

Status KeptCatalog::Open() {
  const std::string path = place_.path() + "/" + VolumePlace::kCatalogName;
  auto catalog = Catalog::Open(path);
  if (!catalog && catalog.error().kind() == ErrorKind::kCorrupt) {
    LogError("volume {}: {}: set aside; the source has to send everything again", place_.name(),
             catalog.error().ToString());
    RETURN_IF_ERROR(SetAside());
    catalog = Catalog::Open(path);
    report_.SetHistory("replica.db was damaged and has been set aside");
  }
  if (!catalog) return tl::unexpected<Error>(std::move(catalog.error()));
  MutexLock lock(mutex_);
  catalog_ = std::move(*catalog);
  ReportUsage();
  policy_ = ReadPolicy(place_.fd());
  return ReportShortObjects();
}

Status KeptCatalog::SetPolicy(const VolumePolicy& policy) {
  MutexLock lock(mutex_);
  if (policy == policy_) return {};
  RETURN_IF_ERROR(WritePolicy(place_.fd(), policy));
  policy_ = policy;
  return ReportShortObjects();
}

void KeptCatalog::ReportUsage() {
  const VolumeTerms& terms = place_.terms();
  if (terms.usage == nullptr) return;
  const auto totals = catalog_->Totals();
  if (totals) {
    terms.usage->SetApplied(place_.identity().name, *totals);
  } else {
    LogError("volume {}: {}", place_.name(), totals.error().ToString());
  }
}

Status KeptCatalog::SetAside() {
  const std::string suffix = ".damaged-" + std::to_string(time(nullptr));
  for (const char* part : {"", "-wal", "-shm"}) {
    const std::string name = std::string(VolumePlace::kCatalogName) + part;
    const std::string aside = VolumePlace::kCatalogName + suffix + part;
    if (renameat(place_.fd(), name.c_str(), place_.fd(), aside.c_str()) != 0 && errno != ENOENT) {
      return ErrnoError("set aside " + name);
    }
  }
  return {};
}

Status KeptCatalog::ReturnLostCuts() {
  ASSIGN_OR_RETURN(const AppliedCut kept, catalog_->Applied());
  queue_.ReturnTo(kept);
  return {};
}

std::optional<Reply> KeptCatalog::RefuseUnlessCurrent() {
  if (const auto done = ReturnLostCuts(); !done) return place_.Failure(done.error());
  if (const auto free = place_.CheckMounts(); !free) return place_.Failure(free.error());
  return queue_.RefuseIfPending();
}

Status KeptCatalog::Sync() {
  MutexLock lock(sync_mutex_);
  if (auto synced = place_.Sync(); !synced) sync_failed_ = std::move(synced.error());
  if (sync_failed_) return tl::unexpected<Error>(*sync_failed_);
  return {};
}

Status KeptCatalog::SyncTree() {
  auto synced = Sync();
  if (synced) return {};
  const Lock lock(*this);
  return DiscardUnkept(std::move(synced.error()));
}

Status KeptCatalog::Keep() {
  // The catalog must never be on the disk before the tree it describes: a power cut would leave a
  // tree that is behind, and no stage would be redone.
  if (auto synced = Sync(); !synced) return DiscardUnkept(std::move(synced.error()));
  FAULT_POINT("replica.sync.tree_synced");
  if (auto kept = catalog_->Keep(); !kept) return DiscardUnkept(std::move(kept.error()));
  FAULT_POINT("replica.sync.catalog_kept");
  queue_.NoteSynced();
  return {};
}

tl::unexpected<Error> KeptCatalog::DiscardUnkept(Error why) {
  catalog_->Discard();
  {
    MutexLock lock(sync_mutex_);
    sync_failed_.reset();
  }
  // If no cut is lost, none will be kept either, which would end what NoteSyncFailed begins.
  const auto kept = catalog_->Applied();
  if (kept && kept->name == queue_.applied().name) return tl::unexpected<Error>(std::move(why));
  queue_.NoteSyncFailed(why);
  // If it fails now, the next caller that uses the catalog does it first.
  (void)ReturnLostCuts();
  return tl::unexpected<Error>(std::move(why));
}

Status KeptCatalog::ReportShortObjects() {
  ShortObjects& table = catalog_->short_objects();
  ASSIGN_OR_RETURN(uint64_t count, table.Count());
  std::vector<ShortObject> listed;
  if (count > 0) {
    ASSIGN_OR_RETURN(const auto rows, table.List(kMaxShortListed));
    for (const ShortObjects::Row& row : rows) {
      ASSIGN_OR_RETURN(const std::string path, PathOf(*catalog_, row.object));
      listed.push_back({row.object, path, row.reason, row.by_name});
    }
  }
  if (policy_.may_set_special) {
    ASSIGN_OR_RETURN(const auto withheld,
                     catalog_->lacking().ListWithheld(kMaxShortListed - listed.size()));
    for (const auto& [object, what] : withheld) {
      ASSIGN_OR_RETURN(const auto also_short, table.Find(object));
      if (also_short && !also_short->by_name) continue;
      ASSIGN_OR_RETURN(const std::string path, PathOf(*catalog_, object));
      const std::string reason = "set " + what + ": the account may now, and could not before";
      listed.push_back({object, path, reason, /*by_name=*/false});
      ++count;
    }
  }
  RETURN_IF_ERROR(ListDamaged(listed, count));
  report_.SetShortObjects(std::move(listed), count);
  return {};
}

// To the source, damage is what falls short, and can be mended.
Status KeptCatalog::ListDamaged(std::vector<ShortObject>& listed, uint64_t& count) {
  DamagedObjects& damaged = catalog_->damaged();
  ASSIGN_OR_RETURN(const uint64_t all, damaged.Count());
  std::string notice;
  if (all > 0) {
    // Those that fall short for good must not keep the source from being told.
    constexpr size_t kPlacesForDamage = kMaxShortListed / 4;
    listed.resize(std::min(listed.size(), kMaxShortListed - kPlacesForDamage));
    ASSIGN_OR_RETURN(const auto rows, damaged.List(kMaxShortListed));
    for (const DamagedObjects::Row& row : rows) {
      ASSIGN_OR_RETURN(const std::string path, PathOf(*catalog_, row.object));
      if (notice.empty()) {
        notice = std::to_string(all) + " objects are to be sent again after a scrub (such as " +
                 Printable(path) + ": " + row.what + ")";
      }
      ASSIGN_OR_RETURN(const auto also_short, catalog_->short_objects().Find(row.object));
      if (also_short && !also_short->by_name) continue;  // it is sent whole anyway
      ++count;
      if (listed.size() >= kMaxShortListed) continue;
      listed.push_back({row.object, path, "damaged: " + row.what, /*by_name=*/false,
                        /*damaged=*/!row.whole, row.ranges.ToVector()});
    }
    count += all - rows.size();
  }
  report_.SetDamage(notice);
  return {};
}

}  // namespace tandem::replica
