#include "replica/store/volume.h"

#include <unistd.h>

#include <algorithm>
#include <exception>

#include "meta/base/fault_point.h"
#include "meta/base/log.h"
#include "replica/apply/redo.h"
#include "replica/apply/spare_file.h"
#include "replica/apply/tree_path.h"

namespace tandem::replica {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kRetryRedo{1000};
constexpr milliseconds kSyncPause{1000};
// Stages that wait for a sync may take so much disk, and so many descriptors, before it is hurried.
constexpr uint64_t kUnsyncedBytes = 256 << 20;
constexpr size_t kUnsyncedStages = 512;

// A library of ours may throw (out of memory); threads end here, so exceptions do too.
template <typename Work>
auto Guarded(const Work& work) -> decltype(work()) {
  try {
    return work();
  } catch (const std::exception& e) {
    return ErrnoError(ENOMEM, e.what());
  }
}

}  // namespace

Volume::Volume(UniqueFd fd, const std::string& path, const VolumeIdentity& identity)
    : identity_(identity),
      path_(path),
      fd_(std::move(fd)),
      mounts_(fd_.get()),
      edits_(identity.name) {}

void Volume::Stop() {
  MutexLock lock(mutex_);
  stopping_ = true;
  changed_.NotifyAll();
}

Volume::~Volume() {
  Stop();
  if (redo_thread_.joinable()) redo_thread_.join();
  if (sync_thread_.joinable()) sync_thread_.join();
  // So that the next start has nothing to redo, and a copy of the store is of one moment.
  if (const auto done = Guarded([this] { return SyncOnce(); }); !done) {
    LogError("volume {}: {}", identity_.name, done.error().ToString());
  }
}

// ---- Redo --------------------------------------------------------------------------------------

void Volume::RunRedo() {
  while (true) {
    {
      MutexLock lock(mutex_);
      while (!stopping_ && (pending_.empty() || inspections_ > 0)) changed_.Wait(mutex_);
      if (stopping_) return;
    }
    if (!RedoOnce()) Pause(kRetryRedo);
  }
}

void Volume::Pause(CondVar::Clock::duration time) {
  const auto deadline = CondVar::Clock::now() + time;
  MutexLock lock(mutex_);
  while (!stopping_ && changed_.WaitUntil(mutex_, deadline)) {
  }
}

// pending_ stays as it is meanwhile: a commit waits until it is empty, or holds catalog_mutex_.
bool Volume::RedoOnce() {
  MutexLock catalog_lock(catalog_mutex_);
  auto complete = Guarded([this]() NO_THREAD_SAFETY_ANALYSIS -> Status {
    RETURN_IF_ERROR(RedoWhatWasLost());
    // What the redo frees others may take, and then what was applied before could not be applied
    // again after a crash.
    return MustKeepFirst() ? KeepCatalog() : Status();
  });
  std::vector<std::shared_ptr<Stage>> stages;
  Notices notices;
  Marker marker{identity_, TreeState::kApplied, {}};
  ForeignEdits* edits = nullptr;
  bool cramped = false;
  {
    MutexLock lock(mutex_);
    stages = pending_;
    if (stages.empty()) return true;
    const bool makes_room = stages.back()->commit_record().cut.epoch == Epoch();
    cramped = makes_room || (blocked_ && MeansNoRoom(*blocked_));
    notices = notices_;
    marker.cut = applied_;
    if (!redo_unfinished_ && !applied_.IsNowhere()) edits = &edits_;
  }
  const RedoPlace place{fd_.get(), root_fd_.get(), hold_fd_.get(), *catalog_,       marker,
                        stopping_, edits,          cramped,        stage_fd_.get(), largest_file_};
  const auto done = Guarded([&]() NO_THREAD_SAFETY_ANALYSIS -> Result<AppliedCut> {
    RETURN_IF_ERROR(std::move(complete));
    RETURN_IF_ERROR(CheckMounts());
    {
      MutexLock lock(mutex_);
      redo_unfinished_ = true;
    }
    for (const auto& stage : stages) stage->ReleaseRoom();
    ASSIGN_OR_RETURN(const AppliedCut applied, Redo(place, stages, notices));
    // The cut is applied all the same.
    if (const auto looked = LookForShortObjects(); !looked) {
      LogError("volume {}: {}", identity_.name, looked.error().ToString());
    }
    // Before the source hears of it: a stage begun there must not find an older catalog.
    if (applied.IsNowhere()) RETURN_IF_ERROR(KeepCatalog());
    return applied;
  });
  MutexLock lock(mutex_);
  notices_ = notices;
  if (!done) {
    if (stopping_) return false;
    const std::string text = done.error().ToString();
    if (!blocked_ || blocked_->ToString() != text) {
      LogError("volume {}: cannot apply a cut: {}; trying again every second", identity_.name,
               text);
    }
    blocked_ = done.error();
    changed_.NotifyAll();
    return false;
  }
  if (blocked_ && !sync_failed_) {
    LogInfo("volume {}: applying goes on", identity_.name);
    blocked_.reset();
  }
  // A set of no moment leads to such a place, and the source knows which.
  const bool lost = done->IsNowhere() && done->name != stages.back()->commit_record().cut;
  if (lost) {
    LeaveEveryCut("files were missing when a cut was applied", *done);
  } else {
    if (applied_.IsNowhere() && !done->IsNowhere()) history_notice_.clear();
    applied_ = *done;
  }
  empty_ = false;
  redo_unfinished_ = false;
  unsynced_.insert(unsynced_.end(), stages.begin(), stages.end());
  pending_.clear();
  changed_.NotifyAll();
  return true;
}

Status Volume::LookForShortObjects() {
  ShortObjects& table = catalog_->short_objects();
  ASSIGN_OR_RETURN(const uint64_t count, table.Count());
  std::vector<ShortObject> listed;
  if (count > 0) {
    ASSIGN_OR_RETURN(const auto rows, table.List(kMaxShortListed));
    for (const ShortObjects::Row& row : rows) {
      ASSIGN_OR_RETURN(const std::string path, PathOf(*catalog_, row.object));
      listed.push_back({row.object, path, row.reason, row.by_name});
    }
  }
  MutexLock lock(mutex_);
  short_objects_ = std::move(listed);
  short_count_ = count;
  return {};
}

// ---- Sync --------------------------------------------------------------------------------------

void Volume::RunSync() {
  while (true) {
    {
      MutexLock lock(mutex_);
      while (!stopping_ && unsynced_.empty()) changed_.Wait(mutex_);
      const auto deadline = CondVar::Clock::now() + kSyncPause;
      const auto hurry = [this]() NO_THREAD_SAFETY_ANALYSIS {
        uint64_t bytes = 0;
        for (const auto& stage : unsynced_) bytes += stage->file_bytes();
        return bytes > kUnsyncedBytes || unsynced_.size() > kUnsyncedStages;
      };
      while (!stopping_ && !hurry() && changed_.WaitUntil(mutex_, deadline)) {
      }
      if (stopping_) return;
    }
    const auto done = Guarded([this] { return SyncOnce(); });
    if (done) continue;
    LogError("volume {}: {}", identity_.name, done.error().ToString());
    Pause(kSyncPause);
  }
}

Status Volume::SyncTree() {
  if (syncfs(fd_.get()) != 0) return ErrnoError("sync filesystem of " + path_);
  return {};
}

Status Volume::SyncOnce() {
  {
    MutexLock lock(mutex_);
    if (unsynced_.empty()) return {};
  }
  // Redoes go on meanwhile, and leave little for the sync that has to hold them up.
  if (auto synced = SyncTree(); !synced) {
    MutexLock catalog_lock(catalog_mutex_);
    return RedoWhatWasNotKept(std::move(synced.error()));
  }
  ASSIGN_OR_RETURN(const auto stages, KeepApplied());
  for (const auto& stage : stages) RETURN_IF_ERROR(stage->Remove());
  FAULT_POINT("replica.sync.stage_removed");
  {
    MutexLock catalog_lock(catalog_mutex_);
    MakeSpares();
  }
  MutexLock lock(mutex_);
  unsynced_.erase(unsynced_.begin(), unsynced_.begin() + static_cast<ptrdiff_t>(stages.size()));
  return {};
}

Result<std::vector<std::shared_ptr<Stage>>> Volume::KeepApplied() {
  MutexLock catalog_lock(catalog_mutex_);
  RETURN_IF_ERROR(RedoWhatWasLost());
  RETURN_IF_ERROR(KeepCatalog());
  MutexLock lock(mutex_);
  return unsynced_;
}

Status Volume::KeepCatalog() {
  // The catalog must never be on the disk before the tree it speaks of: a power cut would leave a
  // tree that is behind, and nobody would redo it.
  if (auto synced = SyncTree(); !synced) return RedoWhatWasNotKept(std::move(synced.error()));
  FAULT_POINT("replica.sync.tree_synced");
  if (auto kept = catalog_->Keep(); !kept) return RedoWhatWasNotKept(std::move(kept.error()));
  FAULT_POINT("replica.sync.catalog_kept");
  MutexLock lock(mutex_);
  if (std::exchange(sync_failed_, false)) {
    LogInfo("volume {}: what is applied reaches the disk again", identity_.name);
    blocked_.reset();
    changed_.NotifyAll();
  }
  return {};
}

void Volume::LeaveEveryCut(const std::string& why, const AppliedCut& nowhere) {
  LogError("volume {}: {}; the source has to compare everything", identity_.name, why);
  applied_ = nowhere;
  durable_ = nowhere;
  session_ = SessionId::Random();  // so that the source asks
  history_notice_ = why;
}

tl::unexpected<Error> Volume::RedoWhatWasNotKept(Error why) {
  catalog_->Discard();
  {
    MutexLock lock(mutex_);
    sync_failed_ = true;
    blocked_ = why;
    changed_.NotifyAll();
  }
  // If it cannot be done now, whoever uses the catalog next does it first.
  (void)RedoWhatWasLost();
  return tl::unexpected<Error>(std::move(why));
}

Status Volume::RedoWhatWasLost() {
  ASSIGN_OR_RETURN(const AppliedCut kept, catalog_->Applied());
  MutexLock lock(mutex_);
  if (kept.name == applied_.name) return {};
  const auto lost = std::ranges::find_if(
      unsynced_, [&kept](const auto& stage) { return stage->base() == kept.name; });
  LogWarning("volume {}: the catalog is back at cut {}: {} cuts are applied again", identity_.name,
             kept.name.epoch.number(), unsynced_.end() - lost);
  redo_unfinished_ |= lost != unsynced_.end();
  pending_.insert(pending_.begin(), lost, unsynced_.end());
  unsynced_.erase(lost, unsynced_.end());
  applied_ = kept;
  changed_.NotifyAll();
  return {};
}

}  // namespace tandem::replica
