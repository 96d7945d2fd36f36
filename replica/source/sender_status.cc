// What others see of a sender, and what they may ask of it.
#include <algorithm>

#include "replica/source/sender.h"
#include "replica/source/tuning.h"

namespace tandem::replica {

ReplicaStatus Sender::status() {
  ReplicaStatus status;
  status.name = options_.name;
  status.url = options_.url;
  status.bandwidth = limit_.text();
  const uint64_t heard_connection = view_.Describe(status);
  // Resumed; its thread may still wait for an answer that will not come.
  if (status.state == ReplicaState::kPaused && !control_.paused()) {
    status.state = ReplicaState::kCatchingUp;
  }
  bool connected = false;
  if (peer_ != nullptr) {
    status.sent_bytes = peer_->sent_bytes();
    status.received_bytes = peer_->received_bytes();
    status.content = progress_.sent_content();
    // The thread may still be waiting for an answer that will not come.
    const bool talks =
        status.state != ReplicaState::kPaused && status.state != ReplicaState::kBlocked;
    // What answers on another connection may be another run of the daemon, with another store.
    const uint64_t connection = peer_->connection();
    connected = connection != 0;
    const bool believed = status.state != ReplicaState::kCurrent || connection == heard_connection;
    if (talks && (!connected || !believed)) status.state = ReplicaState::kConnecting;
    std::string trouble = talks || !connected ? peer_->Trouble() : "";
    const bool silent = connected && !trouble.empty();
    if (silent) status.state = ReplicaState::kConnecting;
    if (status.state == ReplicaState::kConnecting && (silent || !connected)) {
      if (!trouble.empty()) status.error = std::move(trouble);
      // That does not pass by itself.
      if (!connected && peer_->IsUntrusted()) status.state = ReplicaState::kBlocked;
    }
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
  status.pending.RaiseTo(cut_progress_.Remaining(tracker_, view_.applied()));
  if (status.state == ReplicaState::kCurrent &&
      IsFarBehind(status.lag_seconds, status.pending.bytes)) {
    status.state = ReplicaState::kCatchingUp;
  }
  return status;
}

// Nothing is known of a replica whose cut is none of ours.
Sender::Has Sender::HasObject(const ObjectId& object) {
  if (view_.lacking().Has(object) || view_.short_debts().Has(object)) return Has::kLess;
  const Epoch applied = view_.applied();
  const bool has_all = applied != Epoch() && tracker_.ChangesAfter(applied, object).empty();
  return has_all ? Has::kAll : Has::kNotYet;
}

// What is sent to it is heard of, too.
std::optional<uint64_t> Sender::AskIfUnheard() {
  if (peer_ == nullptr || peer_->connection() == 0 || peer_->unheard() < kHeardLately) {
    return std::nullopt;
  }
  const auto ask = view_.AskIfUnheardFor(kHeardLately);
  if (ask) tracker_.WakeAll();
  return ask;
}

Sender::Waited Sender::WaitUntilApplied(Epoch epoch, CondVar::Clock::time_point deadline) {
  const uint64_t ask = view_.Ask();
  // The thread may be about to pause for another reason, and hear of the question only then.
  while (true) {
    control_.Wake();
    tracker_.WakeAll();
    const auto until = std::min(deadline, CondVar::Clock::now() + kAskAgainEvery);
    const Waited waited = view_.WaitUntilApplied(ask, epoch, until);
    if (waited != Waited::kNotInTime || until == deadline || control_.stopping()) return waited;
  }
}

std::optional<Status> Sender::TryTask(Task task, CondVar::Clock::time_point deadline) {
  return tasks_.Run(std::move(task), deadline);
}

Status Sender::NotReached() {
  return MakeError(ErrorKind::kUnreachable,
                   "replica " + options_.name + " at " + options_.url + " is " + view_.StateText());
}

}  // namespace tandem::replica
