#include "replica/source/replica_view.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "meta/base/log.h"
#include "replica/source/tuning.h"

namespace tandem::replica {
namespace {

double SecondsSince(int64_t boot_time_ns) {
  return std::max(0.0, static_cast<double>(meta::BootTimeNs() - boot_time_ns) / 1e9);
}

// `oldest`: BootTimeNs of the oldest change that the replica has not applied.
bool IsLate(const std::optional<int64_t>& oldest) {
  return oldest && SecondsSince(*oldest) > kCurrentLagSeconds;
}

std::string Text(ReplicaState state, const std::string& error) {
  return NameOf(state) + (error.empty() ? "" : ": " + error);
}

}  // namespace

bool IsFarBehind(double lag_seconds, uint64_t pending_bytes) {
  return lag_seconds > kCurrentLagSeconds || pending_bytes > kCurrentBytes;
}

void ReplicaView::SetState(ReplicaState state, std::string error) {
  std::string text = Text(state, error);
  MutexLock lock(mutex_);
  if (text != logged_) LogInfo("replica {}: {}", name_, text);
  logged_ = std::move(text);
  state_ = state;
  error_ = std::move(error);
}

void ReplicaView::SetGoingOn(ReplicaState state, const std::string& trouble) {
  if (trouble.empty()) return SetState(state, "");
  MutexLock lock(mutex_);
  state_ = state == ReplicaState::kCurrent ? ReplicaState::kCatchingUp : state;
  error_ = "trying again after: " + trouble;
}

ReplicaState ReplicaView::StateAfter(Epoch applied) {
  const auto oldest = tracker_.OldestChangeAfter(applied);
  if (!oldest) return ReplicaState::kCurrent;
  if (IsLate(oldest)) return ReplicaState::kCatchingUp;
  MutexLock lock(mutex_);
  return state_ == ReplicaState::kCurrent ? ReplicaState::kCurrent : ReplicaState::kCatchingUp;
}

ReplicaState ReplicaView::HowFarBehind(Epoch applied, uint64_t bytes) const {
  const bool far = bytes > kCurrentBytes || IsLate(tracker_.OldestChangeAfter(applied));
  return far ? ReplicaState::kCatchingUp : ReplicaState::kCurrent;
}

void ReplicaView::SetInStep(bool in_step) {
  MutexLock lock(mutex_);
  in_step_ = in_step;
  changed_.NotifyAll();
}

ReplicaView::Inquiry ReplicaView::Inquire(uint64_t connection) {
  MutexLock lock(mutex_);
  return {asks_, connection};
}

void ReplicaView::SetPosition(const Position& position, const CutName& real_applied,
                              const Inquiry& inquiry) {
  MutexLock lock(mutex_);
  heard_ = inquiry;
  heard_at_ = CondVar::Clock::now();
  durable_ = position.durable;
  applied_ = position.applied;
  behind_since_ = real_applied;
  notice_ = position.notice;
  short_debts_.Heard(position, heard_at_);
  changed_.NotifyAll();
}

std::optional<CondVar::Clock::time_point> ReplicaView::AnsweredAt(uint64_t connection) {
  MutexLock lock(mutex_);
  if (heard_.asks != asks_ || heard_.connection != connection || connection == 0) {
    return std::nullopt;
  }
  return heard_at_;
}

Epoch ReplicaView::applied() {
  MutexLock lock(mutex_);
  return in_step_ && tracker_.Knows(applied_) ? applied_.epoch : Epoch();
}

uint64_t ReplicaView::Ask() {
  MutexLock lock(mutex_);
  return ++asks_;
}

std::optional<uint64_t> ReplicaView::AskIfUnheardFor(std::chrono::milliseconds time) {
  MutexLock lock(mutex_);
  if (state_ != ReplicaState::kCurrent) return std::nullopt;
  if (heard_.asks != asks_) return asks_;  // somebody asks
  if (CondVar::Clock::now() - heard_at_ < time) return std::nullopt;
  return ++asks_;
}

void ReplicaView::AwaitAnswer(uint64_t ask, CondVar::Clock::time_point deadline) {
  MutexLock lock(mutex_);
  while (!stopping_ && heard_.asks < ask && changed_.WaitUntil(mutex_, deadline)) {
  }
}

ReplicaView::Waited ReplicaView::WaitUntilApplied(uint64_t ask, Epoch epoch,
                                                  CondVar::Clock::time_point deadline) {
  MutexLock lock(mutex_);
  while (!stopping_) {
    const bool whole = in_step_ && heard_.asks >= ask && lacking_.empty();
    if (whole && applied_.epoch >= epoch && tracker_.Knows(applied_)) {
      return short_debts_.empty() ? Waited::kApplied : Waited::kShort;
    }
    if (!changed_.WaitUntil(mutex_, deadline)) break;
  }
  return Waited::kNotInTime;
}

void ReplicaView::Stop() {
  MutexLock lock(mutex_);
  stopping_ = true;
  changed_.NotifyAll();
}

std::string ReplicaView::StateText() {
  MutexLock lock(mutex_);
  return Text(state_, error_);
}

uint64_t ReplicaView::Describe(ReplicaStatus& status) {
  bool in_step = false;
  CutName behind_since;
  uint64_t heard_connection = 0;
  {
    MutexLock lock(mutex_);
    in_step = in_step_;
    heard_connection = heard_.connection;
    behind_since = behind_since_;
    status.state = state_;
    status.durable = durable_;
    status.applied = applied_;
    status.error = error_;
    status.notice = notice_;
  }
  const auto note_missing = [&status](const auto& summary) {
    if (!summary) return;
    if (status.state == ReplicaState::kCurrent) status.state = ReplicaState::kCatchingUp;
    if (status.error.empty()) status.error = summary->text;
    status.lag_seconds = std::max(status.lag_seconds, SecondsSince(summary->since_ns));
  };
  note_missing(lacking_.Summarize());
  note_missing(short_debts_.Summarize());
  // After a set of no moment it is as far behind as before.
  const bool at_a_cut = behind_since == status.applied;
  const bool known = tracker_.Knows(behind_since);
  // What has changed since then is not remembered one by one. It cannot be counted, and is not
  // nothing.
  if (!known) status.pending.objects = 1;
  if (!known && behind_since.epoch != Epoch() && status.notice.empty()) {
    status.notice =
        "what has changed since its cut is not remembered one by one: its whole tree is compared "
        "when it is there. It may be further behind than the lag, which counts from the start of "
        "this tandemfs";
  }
  if (!known || (!in_step && at_a_cut)) {
    // Never in step in this run: it is at least that far behind.
    status.lag_seconds = std::max(status.lag_seconds, SecondsSince(started_ns_));
  }
  if (const auto oldest = tracker_.OldestChangeAfter(behind_since.epoch)) {
    status.lag_seconds = std::max(status.lag_seconds, SecondsSince(*oldest));
  }
  return heard_connection;
}

}  // namespace tandem::replica
