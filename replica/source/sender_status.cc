// What others see of a sender, and what they may ask of it.
#include <algorithm>

#include "replica/source/sender.h"

namespace tandem::replica {
namespace {

// A replica that is connected and no further behind than this is current: in time, and in what has
// still to be sent.
constexpr double kCurrentLagSeconds = 3;
constexpr uint64_t kCurrentBytes = 32 << 20;

double SecondsSince(int64_t boot_time_ns) {
  return std::max(0.0, static_cast<double>(meta::BootTimeNs() - boot_time_ns) / 1e9);
}

}  // namespace

const char* NameOf(ReplicaState state) {
  switch (state) {
    case ReplicaState::kConnecting:
      return "connecting";
    case ReplicaState::kSeeding:
      return "seeding";
    case ReplicaState::kReconciling:
      return "reconciling";
    case ReplicaState::kCurrent:
      return "current";
    case ReplicaState::kCatchingUp:
      return "catching-up";
    case ReplicaState::kPaused:
      return "paused";
    case ReplicaState::kBlocked:
      return "blocked";
  }
  return "connecting";
}

bool Sender::IsLate(Epoch applied) {
  const auto oldest = tracker_.OldestChangeAfter(applied);
  return oldest && SecondsSince(*oldest) > kCurrentLagSeconds;
}

ReplicaState Sender::StateAfter(Epoch applied) {
  if (!tracker_.OldestChangeAfter(applied)) return ReplicaState::kCurrent;
  if (IsLate(applied)) return ReplicaState::kCatchingUp;
  MutexLock lock(mutex_);
  return state_ == ReplicaState::kCurrent ? ReplicaState::kCurrent : ReplicaState::kCatchingUp;
}

void Sender::NoteHowFarBehind(Epoch applied, uint64_t bytes) {
  const bool far = bytes > kCurrentBytes || IsLate(applied);
  SetGoingOn(far ? ReplicaState::kCatchingUp : ReplicaState::kCurrent);
}

ReplicaStatus Sender::status() {
  ReplicaStatus status;
  bool in_step = false;
  CutName behind_since;
  uint64_t heard_connection = 0;
  {
    MutexLock lock(mutex_);
    in_step = in_step_;
    heard_connection = heard_.connection;
    status.name = options_.name;
    status.url = options_.url;
    status.state = state_;
    // Resumed; its thread may still wait for an answer that will not come.
    if (state_ == ReplicaState::kPaused && !paused_) status.state = ReplicaState::kCatchingUp;
    status.durable = durable_;
    status.applied = applied_;
    behind_since = behind_since_;
    status.error = error_;
    status.notice = notice_;
    if (!lacking_.empty()) {
      if (status.state == ReplicaState::kCurrent) status.state = ReplicaState::kCatchingUp;
      if (status.error.empty()) status.error = lacking_.lacks().begin()->second.text;
      for (const auto& [object, lack] : lacking_.lacks()) {
        status.lag_seconds = std::max(status.lag_seconds, SecondsSince(lack.since_ns));
      }
      if (lacking_.lacks().size() > 1) {
        status.error += " (and " + std::to_string(lacking_.lacks().size() - 1) + " others)";
      }
    }
    if (!short_debts_.empty()) {
      if (status.state == ReplicaState::kCurrent) status.state = ReplicaState::kCatchingUp;
      if (status.error.empty()) status.error = short_debts_.ToString();
      status.lag_seconds = std::max(status.lag_seconds, SecondsSince(short_debts_.since_ns()));
    }
  }
  bool connected = false;
  if (peer_ != nullptr) {
    status.sent_bytes = peer_->sent_bytes();
    status.received_bytes = peer_->received_bytes();
    // The thread may still be waiting for an answer that will not come.
    const bool talks =
        status.state != ReplicaState::kPaused && status.state != ReplicaState::kBlocked;
    // What answers on another connection may be another run of the daemon, with another store.
    const uint64_t connection = peer_->connection();
    connected = connection != 0;
    const bool believed = status.state != ReplicaState::kCurrent || connection == heard_connection;
    if (talks && (!connected || !believed)) status.state = ReplicaState::kConnecting;
    const bool silent = talks && connected && peer_->silence() >= LinkWatch::kQuiet;
    if (silent) status.state = ReplicaState::kConnecting;
    if (status.state == ReplicaState::kConnecting && (silent || !connected)) {
      if (std::string why = watch_->Trouble(); !why.empty()) status.error = std::move(why);
    }
  }
  // After a set of no moment it is as far behind as before.
  const bool at_a_cut = behind_since == status.applied;
  if (!tracker_.Knows(behind_since) || (!in_step && at_a_cut)) {
    // Never in step in this run: all that can be said is that it is at least that far behind.
    status.lag_seconds = std::max(status.lag_seconds, SecondsSince(started_ns_));
  }
  if (const auto oldest = tracker_.OldestChangeAfter(behind_since.epoch)) {
    status.lag_seconds = std::max(status.lag_seconds, SecondsSince(*oldest));
  }
  if (status.state == ReplicaState::kConnecting && status.error.empty()) {
    status.error = connected ? "connected to " + status.url + ", waiting for tandemd to answer"
                             : "connecting to " + status.url;
  }
  const bool walking =
      status.state == ReplicaState::kSeeding || status.state == ReplicaState::kReconciling;
  if (walking) {
    status.objects_walked = progress_.objects;
    status.bytes_walked = progress_.content_bytes;
  }
  status.pending = cut_progress_.Remaining(tracker_, applied());
  const bool far = status.lag_seconds > kCurrentLagSeconds || status.pending.bytes > kCurrentBytes;
  if (status.state == ReplicaState::kCurrent && far) {
    status.state = ReplicaState::kCatchingUp;
  }
  return status;
}

Epoch Sender::applied() {
  MutexLock lock(mutex_);
  return in_step_ && tracker_.Knows(applied_) ? applied_.epoch : Epoch();
}

bool Sender::LacksSomething() {
  MutexLock lock(mutex_);
  return !lacking_.empty();
}

Sender::Waited Sender::WaitUntilApplied(Epoch epoch, CondVar::Clock::time_point deadline) {
  uint64_t ask = 0;
  {
    MutexLock lock(mutex_);
    ask = ++asks_;
    woken_.NotifyAll();
  }
  tracker_.WakeAll();
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

Status Sender::RunTask(Task task, CondVar::Clock::time_point deadline) {
  auto queued = std::make_shared<QueuedTask>();
  queued->task = std::move(task);
  {
    MutexLock lock(mutex_);
    tasks_.push_back(queued);
  }
  tracker_.WakeAll();
  MutexLock lock(mutex_);
  while (!queued->finished && (queued->started || !stopping_)) {
    const bool in_time = changed_.WaitUntil(mutex_, deadline);
    if (!in_time && !queued->started) {
      std::erase(tasks_, queued);
      return MakeError(ErrorKind::kUnreachable, "replica " + options_.name + " at " + options_.url +
                                                    " is " + NameOf(state_) +
                                                    (error_.empty() ? "" : ": " + error_));
    }
    if (!in_time) deadline += std::chrono::seconds(1);  // it is running: wait for its end
  }
  if (!queued->finished) {
    std::erase(tasks_, queued);
    return MakeError(ErrorKind::kCancelled, "stopping");
  }
  return std::move(queued->status);
}

}  // namespace tandem::replica
