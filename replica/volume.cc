#include "replica/volume.h"

#include <unistd.h>

#include <algorithm>
#include <exception>

#include "meta/base/fault_point.h"
#include "meta/base/log.h"
#include "replica/redo.h"

namespace tandem::replica {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kRetryRedo{1000};
constexpr milliseconds kSyncPause{1000};
// Stages that wait for a sync may take so much disk before it is hurried.
constexpr uint64_t kUnsyncedBytes = 256 << 20;

// A library of ours may throw (out of memory); threads end here, so exceptions do too.
template <typename Work>
Status Guarded(const Work& work) {
  try {
    return work();
  } catch (const std::exception& e) {
    return ErrnoError(ENOMEM, e.what());
  }
}

}  // namespace

Volume::Volume(UniqueFd fd, const std::string& path, const VolumeIdentity& identity)
    : identity_(identity), path_(path), fd_(std::move(fd)) {}

void Volume::Stop() {
  MutexLock lock(mutex_);
  stopping_ = true;
  changed_.NotifyAll();
}

Volume::~Volume() {
  Stop();
  if (redo_thread_.joinable()) redo_thread_.join();
  if (sync_thread_.joinable()) sync_thread_.join();
}

// ---- Redo --------------------------------------------------------------------------------------

void Volume::RunRedo() {
  while (true) {
    {
      MutexLock lock(mutex_);
      while (!stopping_ && (pending_.empty() || inspections_ > 0)) changed_.Wait(mutex_);
      if (stopping_) return;
    }
    if (RedoOnce()) continue;
    MutexLock lock(mutex_);
    const auto deadline = CondVar::Clock::now() + kRetryRedo;
    while (!stopping_ && changed_.WaitUntil(mutex_, deadline)) {
    }
  }
}

// pending_ stays as it is meanwhile: a commit waits until it is empty.
bool Volume::RedoOnce() {
  std::vector<std::shared_ptr<Stage>> stages;
  Notices notices;
  Marker marker{identity_, TreeState::kApplied, {}};
  {
    MutexLock lock(mutex_);
    stages = pending_;
    notices = notices_;
    marker.cut = applied_;
  }
  const RedoPlace place{fd_.get(), root_fd_.get(), hold_fd_.get(), *base_,
                        *writer_,  marker,         stopping_};
  const auto done = Guarded([&] { return Redo(place, stages, notices); });
  MutexLock lock(mutex_);
  notices_ = notices;
  if (!done) {
    if (stopping_) return false;
    const std::string text = done.error().ToString();
    if (!blocked_ || blocked_->ToString() != text) {
      spdlog::error("volume {}: cannot apply a cut: {}; trying again every second", identity_.name,
                    text);
    }
    blocked_ = done.error();
    changed_.NotifyAll();
    return false;
  }
  if (blocked_) spdlog::info("volume {}: applying goes on", identity_.name);
  blocked_.reset();
  const CommitRecord commit = stages.back()->commit_record();
  applied_ = {commit.cut, commit.wall_time_ns};
  empty_ = false;
  unsynced_.insert(unsynced_.end(), stages.begin(), stages.end());
  pending_.clear();
  changed_.NotifyAll();
  return true;
}

// ---- Sync --------------------------------------------------------------------------------------

void Volume::RunSync() {
  // Opened when there is something to do: opening checks the whole database.
  std::unique_ptr<Catalog> catalog;
  while (true) {
    {
      MutexLock lock(mutex_);
      while (!stopping_ && unsynced_.empty()) changed_.Wait(mutex_);
      const auto deadline = CondVar::Clock::now() + kSyncPause;
      const auto hurry = [this]() NO_THREAD_SAFETY_ANALYSIS {
        uint64_t bytes = 0;
        for (const auto& stage : unsynced_) bytes += stage->file_bytes();
        return bytes > kUnsyncedBytes;
      };
      while (!stopping_ && !hurry() && changed_.WaitUntil(mutex_, deadline)) {
      }
      if (stopping_) return;
    }
    const auto done = Guarded([&]() -> Status {
      if (catalog == nullptr) {
        ASSIGN_OR_RETURN(catalog, Catalog::Open(path_ + "/replica.db"));
      }
      return SyncOnce(catalog.get());
    });
    if (!done) spdlog::error("volume {}: {}", identity_.name, done.error().ToString());
  }
}

// What was applied before the sync began no longer needs its stage afterwards.
Status Volume::SyncOnce(Catalog* catalog) {
  std::vector<std::shared_ptr<Stage>> stages;
  {
    MutexLock lock(mutex_);
    stages = unsynced_;
  }
  if (syncfs(fd_.get()) != 0) return ErrnoError("sync filesystem of " + path_);
  for (const auto& stage : stages) RETURN_IF_ERROR(stage->Remove());
  FAULT_POINT("replica.redo.stage_removed");
  {
    MutexLock lock(mutex_);
    unsynced_.erase(unsynced_.begin(), unsynced_.begin() + static_cast<ptrdiff_t>(stages.size()));
  }
  return catalog->Checkpoint();
}

}  // namespace tandem::replica
