#include "replica/store/apply_queue.h"

#include <algorithm>
#include <utility>

#include "meta/base/log.h"
#include "replica/store/tuning.h"
#include "replica/store/volume_replies.h"

namespace tandem::replica {
namespace {

using std::chrono::milliseconds;

uint64_t BytesOf(const ApplyQueue::Stages& stages) {
  uint64_t bytes = 0;
  for (const auto& stage : stages) bytes += stage->file_bytes();
  return bytes;
}

}  // namespace

// ---- Start -------------------------------------------------------------------------------------

void ApplyQueue::Restore(Cuts cuts) {
  MutexLock lock(mutex_);
  applied_ = cuts.applied;
  durable_ = cuts.durable;
  empty_ = cuts.empty;
  pending_ = std::move(cuts.pending);
  unsynced_ = std::move(cuts.unsynced);
}

ApplyQueue::Stages ApplyQueue::TakePending() {
  MutexLock lock(mutex_);
  return std::exchange(pending_, {});
}

void ApplyQueue::LeaveEveryCut(const std::string& why, const AppliedCut& nowhere) {
  MutexLock lock(mutex_);
  LeaveEveryCutLocked(why, nowhere);
}

void ApplyQueue::NoteTreeIsWhole() {
  MutexLock lock(mutex_);
  redo_unfinished_ = false;
}

void ApplyQueue::Stop() {
  MutexLock lock(mutex_);
  stopping_ = true;
  must_redo_.NotifyAll();
  must_keep_.NotifyAll();
  stopped_.NotifyAll();
  changed_.NotifyAll();
}

void ApplyQueue::Sleep(CondVar::Clock::duration time) {
  const auto deadline = CondVar::Clock::now() + time;
  MutexLock lock(mutex_);
  while (!stopping_ && stopped_.WaitUntil(mutex_, deadline)) {
  }
}

// ---- Requests ----------------------------------------------------------------------------------

Position ApplyQueue::PositionLocked() {
  Position position;
  position.session = session_.id();
  position.protocol = kProtocolNewest;
  position.durable = durable_.name;
  position.applied = applied_.name;
  position.empty = empty_ && pending_.empty();
  position.largest_file = place_.largest_file();
  report_.AddTo(position);
  return position;
}

Position ApplyQueue::PositionNow() {
  MutexLock lock(mutex_);
  return PositionLocked();
}

AppliedCut ApplyQueue::applied() {
  MutexLock lock(mutex_);
  return applied_;
}

AppliedCut ApplyQueue::durable() {
  MutexLock lock(mutex_);
  return durable_;
}

ApplyQueue::Stages ApplyQueue::pending() {
  MutexLock lock(mutex_);
  return pending_;
}

bool ApplyQueue::IsAtRest() {
  MutexLock lock(mutex_);
  return pending_.empty() && unsynced_.empty();
}

Position ApplyQueue::OpenSession(const Hello& hello, const ConnectionRef& connection,
                                 const std::string& peer) {
  MutexLock lock(mutex_);
  session_.Open(hello, connection, peer);
  changed_.NotifyAll();
  if (const auto more = sessions_.Suffix(hello.source)) {
    LogInfo("volume {}: session with {}, at cut {}{}", place_.name(), hello.source,
            applied_.name.epoch.number(), *more);
  }
  return PositionLocked();
}

std::optional<Reply> ApplyQueue::RefuseUnlessDurable(const CutName& base) {
  MutexLock lock(mutex_);
  if (base == durable_.name) return std::nullopt;
  return RefuseWrongBase(base, durable_.name);
}

std::optional<Reply> ApplyQueue::RefuseIfPending() {
  MutexLock lock(mutex_);
  if (pending_.empty()) return std::nullopt;
  return BusyLocked();
}

Reply ApplyQueue::Busy() {
  MutexLock lock(mutex_);
  return BusyLocked();
}

Reply ApplyQueue::BusyLocked() {
  if (blocked_) return place_.Failure(*blocked_);
  return Refuse(ReplyCode::kBusy,
                "volume " + place_.name() + ": a cut is being applied; ask again");
}

bool ApplyQueue::IsBlockedForRoom() {
  MutexLock lock(mutex_);
  return !pending_.empty() && blocked_ && MeansNoRoom(*blocked_);
}

Position ApplyQueue::Promise(std::shared_ptr<Stage> stage, const AppliedCut& cut,
                             std::unique_ptr<Plan> plan) {
  Position position;
  {
    MutexLock lock(mutex_);
    plan_ = std::move(plan);
    durable_ = cut;
    pending_.push_back(std::move(stage));
    position = PositionLocked();
  }
  must_redo_.NotifyAll();
  return position;
}

Reply ApplyQueue::WaitApplied(const replica::WaitApplied& wait, SessionId session) {
  const auto deadline =
      CondVar::Clock::now() + std::min(milliseconds(wait.timeout_ms), kMaxAppliedWait);
  MutexLock lock(mutex_);
  while (true) {
    if (session != session_.id()) return RefuseOldSession();
    if (blocked_) {
      Reply reply = place_.Failure(*blocked_);
      reply.body = PositionLocked();
      return reply;
    }
    const bool under_way = wait.cut == durable_.name && durable_.name != applied_.name;
    if (!under_way || stopping_ || !changed_.WaitUntil(mutex_, deadline)) {
      return Ok(PositionLocked());
    }
  }
}

std::optional<Reply> ApplyQueue::BeginPause() {
  const auto deadline = CondVar::Clock::now() + kMaxPauseWait;
  MutexLock lock(mutex_);
  while (!pending_.empty() && !stopping_) {
    if (!changed_.WaitUntil(mutex_, deadline)) break;
  }
  if (!pending_.empty()) return BusyLocked();
  ++pauses_;
  return std::nullopt;
}

void ApplyQueue::EndPause() {
  MutexLock lock(mutex_);
  if (--pauses_ == 0) must_redo_.NotifyAll();
}

// ---- Redo --------------------------------------------------------------------------------------

bool ApplyQueue::WaitForPending() {
  MutexLock lock(mutex_);
  while (!stopping_ && (pending_.empty() || pauses_ > 0)) must_redo_.Wait(mutex_);
  return !stopping_;
}

ApplyQueue::Work ApplyQueue::WorkNow() {
  MutexLock lock(mutex_);
  if (pending_.empty()) return {};
  const bool makes_room = pending_.back()->commit_record().cut.epoch == Epoch();
  return {.stages = pending_,
          .plan = std::move(plan_),
          .base = applied_,
          .cramped = makes_room || (blocked_ && MeansNoRoom(*blocked_)),
          .tree_is_whole = !redo_unfinished_ && !applied_.IsNowhere()};
}

void ApplyQueue::NoteRedoBegun() {
  MutexLock lock(mutex_);
  redo_unfinished_ = true;
}

bool ApplyQueue::EndRedo(const Stages& stages, const Result<AppliedCut>& done,
                         const Notices& notices) {
  MutexLock lock(mutex_);
  report_.SetNotices(notices);
  if (!done) {
    if (stopping_) return false;
    const std::string text = done.error().ToString();
    if (!blocked_ || blocked_->ToString() != text) {
      LogError("volume {}: cannot apply a cut: {}; trying again every second", place_.name(), text);
    }
    blocked_ = done.error();
    changed_.NotifyAll();
    return false;
  }
  if (blocked_ && !sync_failed_) {
    LogInfo("volume {}: applying goes on", place_.name());
    blocked_.reset();
  }
  // A set of no moment leads to no cut, too, but to a place that the source knows.
  const bool lost = done->IsNowhere() && done->name != stages.back()->commit_record().cut;
  if (lost) {
    LeaveEveryCutLocked("files were missing when a cut was applied", *done);
  } else {
    if (applied_.IsNowhere() && !done->IsNowhere()) report_.SetHistory("");
    applied_ = *done;
  }
  empty_ = false;
  redo_unfinished_ = false;
  const bool none_unsynced = unsynced_.empty();
  unsynced_.insert(unsynced_.end(), stages.begin(), stages.end());
  if (none_unsynced || MustHurry()) must_keep_.NotifyAll();
  pending_.clear();
  changed_.NotifyAll();
  return true;
}

void ApplyQueue::LeaveEveryCutLocked(const std::string& why, const AppliedCut& nowhere) {
  LogError("volume {}: {}; the source has to compare everything", place_.name(), why);
  applied_ = nowhere;
  durable_ = nowhere;
  session_.Renew();  // so that the source asks
  report_.SetHistory(why);
}

// ---- Keeping -----------------------------------------------------------------------------------

bool ApplyQueue::MustHurry() {
  return unsynced_.size() > kMaxUnsyncedStages || BytesOf(unsynced_) > kMaxUnsyncedBytes;
}

bool ApplyQueue::WaitForUnsynced() {
  MutexLock lock(mutex_);
  while (!stopping_ && unsynced_.empty()) must_keep_.Wait(mutex_);
  const auto deadline = CondVar::Clock::now() + kKeepPause;
  while (!stopping_ && !MustHurry() && must_keep_.WaitUntil(mutex_, deadline)) {
  }
  return !stopping_;
}

ApplyQueue::Stages ApplyQueue::unsynced() {
  MutexLock lock(mutex_);
  return unsynced_;
}

void ApplyQueue::ForgetUnsynced(size_t count) {
  MutexLock lock(mutex_);
  unsynced_.erase(unsynced_.begin(), unsynced_.begin() + static_cast<ptrdiff_t>(count));
}

std::optional<uint64_t> ApplyQueue::BytesPendingBeforeKept() {
  MutexLock lock(mutex_);
  if (pending_.empty() || unsynced_.empty()) return std::nullopt;
  return BytesOf(pending_);
}

void ApplyQueue::ReturnTo(const AppliedCut& kept) {
  MutexLock lock(mutex_);
  if (kept.name == applied_.name) return;
  const auto lost = std::ranges::find_if(
      unsynced_, [&kept](const auto& stage) { return stage->base() == kept.name; });
  LogWarning("volume {}: the catalog is back at cut {}: {} cuts are applied again", place_.name(),
             kept.name.epoch.number(), unsynced_.end() - lost);
  redo_unfinished_ |= lost != unsynced_.end();
  pending_.insert(pending_.begin(), lost, unsynced_.end());
  unsynced_.erase(lost, unsynced_.end());
  applied_ = kept;
  must_redo_.NotifyAll();
  changed_.NotifyAll();
}

void ApplyQueue::NoteSyncFailed(const Error& why) {
  MutexLock lock(mutex_);
  sync_failed_ = true;
  blocked_ = why;
  changed_.NotifyAll();
}

void ApplyQueue::NoteSynced() {
  MutexLock lock(mutex_);
  if (!std::exchange(sync_failed_, false)) return;
  LogInfo("volume {}: what is applied reaches the disk again", place_.name());
  blocked_.reset();
  changed_.NotifyAll();
}

}  // namespace tandem::replica
