#include "replica/store/applier.h"

#include <exception>

#include "meta/base/fault_point.h"
#include "meta/base/log.h"
#include "replica/apply/redo.h"
#include "replica/store/room_check.h"
#include "replica/store/tuning.h"

namespace tandem::replica {
namespace {

using std::chrono::milliseconds;

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

void Applier::Start() {
  redo_thread_ = std::thread(&Applier::RunRedo, this);
  sync_thread_ = std::thread(&Applier::RunSync, this);
}

Applier::~Applier() {
  queue_.Stop();
  if (redo_thread_.joinable()) redo_thread_.join();
  if (sync_thread_.joinable()) sync_thread_.join();
  // So that the next start has nothing to redo, and a copy of the store is of one moment.
  if (const auto done = Guarded([this] { return SyncOnce(); }); !done) {
    LogError("volume {}: {}", place_.name(), done.error().ToString());
  }
}

// ---- Redo --------------------------------------------------------------------------------------

void Applier::RunRedo() {
  while (queue_.WaitForPending()) {
    if (!RedoOnce()) queue_.Sleep(kRetryRedo);
  }
}

bool Applier::MustKeepFirst() {
  const auto bytes = queue_.BytesPendingBeforeKept();
  return bytes && !HasPlentyFor(place_, *bytes);
}

// What is pending stays as it is meanwhile: a commit waits until nothing is, or for the catalog.
bool Applier::RedoOnce() {
  const KeptCatalog::Lock lock(catalog_);
  auto complete = Guarded([this]() NO_THREAD_SAFETY_ANALYSIS -> Status {
    RETURN_IF_ERROR(catalog_.ReturnLostCuts());
    // Others may take what the redo frees, and then what was applied before could not be applied
    // again after a crash.
    return MustKeepFirst() ? catalog_.Keep() : Status();
  });
  ApplyQueue::Work work = queue_.WorkNow();
  if (work.stages.empty()) return true;
  if (work.cramped) place_.kept().DropAll();
  Notices notices = report_.notices();
  WrittenContent written;
  const RedoPlace place{place_.fd(),
                        place_.root_fd(),
                        place_.hold_fd(),
                        catalog_.catalog(),
                        {place_.identity(), TreeState::kApplied, work.base},
                        queue_.stopping(),
                        work.tree_is_whole ? &report_.edits() : nullptr,
                        work.cramped,
                        place_.stage_fd(),
                        place_.largest_file(),
                        catalog_.policy().may_set_special,
                        &place_.kept(),
                        &written};
  const auto done = Guarded([&]() NO_THREAD_SAFETY_ANALYSIS -> Result<AppliedCut> {
    RETURN_IF_ERROR(std::move(complete));
    RETURN_IF_ERROR(place_.CheckMounts());
    queue_.NoteRedoBegun();
    for (const auto& stage : work.stages) stage->ReleaseRoom();
    ASSIGN_OR_RETURN(const AppliedCut applied,
                     Redo(place, work.stages, std::move(work.plan), notices));
    // The cut is applied all the same.
    if (const auto looked = catalog_.ReportShortObjects(); !looked) {
      LogError("volume {}: {}", place_.name(), looked.error().ToString());
    }
    catalog_.ReportUsage();
    // Before the source hears of it: a stage begun there must not find an older catalog.
    if (applied.IsNowhere()) RETURN_IF_ERROR(catalog_.Keep());
    return applied;
  });
  if (done) finder_.NoteWritten(written.Take());
  return queue_.EndRedo(work.stages, done, notices);
}

// ---- Sync --------------------------------------------------------------------------------------

void Applier::RunSync() {
  while (queue_.WaitForUnsynced()) {
    const auto done = Guarded([this] { return SyncOnce(); });
    if (done) continue;
    LogError("volume {}: {}", place_.name(), done.error().ToString());
    queue_.Sleep(kRetrySync);
  }
}

Status Applier::SyncOnce() {
  if (queue_.unsynced().empty()) return {};
  RETURN_IF_ERROR(catalog_.SyncTree());
  ASSIGN_OR_RETURN(const auto stages, KeepApplied());
  for (const auto& stage : stages) RETURN_IF_ERROR(stage->Remove());
  FAULT_POINT("replica.sync.stage_removed");
  {
    const KeptCatalog::Lock lock(catalog_);
    MakeSpares(place_, catalog_.catalog());
  }
  queue_.ForgetUnsynced(stages.size());
  return {};
}

Result<ApplyQueue::Stages> Applier::KeepApplied() {
  const KeptCatalog::Lock lock(catalog_);
  RETURN_IF_ERROR(catalog_.ReturnLostCuts());
  RETURN_IF_ERROR(catalog_.Keep());
  return queue_.unsynced();
}

}  // namespace tandem::replica
