// What a sender knows of its replica and shows of it: in which state it is, where the replica says
// it is, and what is missing there.
//
// Any thread; functions under "the sender's thread" only there. Lock order: mutex_ before those of
// Lacking, ShortDebts and the tracker.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "meta/base/ids.h"
#include "meta/base/mutex.h"
#include "meta/capture/tracker.h"
#include "replica/source/lacking.h"
#include "replica/source/replica_status.h"
#include "replica/source/short_debts.h"
#include "replica/wire/messages.h"

namespace tandem::replica {

class ReplicaView {
 public:
  // Identifies the question that a position answers: how many questions had been asked by other
  // threads, and the connection. An answer over another connection may be another daemon's.
  struct Inquiry {
    uint64_t asks = 0;
    uint64_t connection = 0;  // 0: none; the answer counts for no connection
  };

  // `last_applied`: as remembered from the last run; epoch 0: nothing is known. `tracker` must
  // outlive this.
  ReplicaView(std::string name, const CutName& last_applied, meta::Tracker& tracker)
      : name_(std::move(name)),
        tracker_(tracker),
        started_ns_(meta::BootTimeNs()),
        applied_(last_applied),
        behind_since_(last_applied) {}

  // ---- The sender's thread
  // Logs the state if it or the error is another than before.
  void SetState(ReplicaState state, std::string error) EXCLUDES(mutex_);
  // The sender goes on in this state. What stopped it the last time (`trouble`, unless empty) stays
  // in sight until it has got past that; nothing is logged then, for it may go wrong again at once.
  void SetGoingOn(ReplicaState state, const std::string& trouble) EXCLUDES(mutex_);
  // Returns current, or catching up if the oldest change after `applied` is old. A replica that was
  // not current becomes so when nothing is left, or with a cut that is small (HowFarBehind).
  ReplicaState StateAfter(Epoch applied) EXCLUDES(mutex_);
  // The state of a replica that has applied `applied` and is about to be sent so many bytes.
  ReplicaState HowFarBehind(Epoch applied, uint64_t bytes) const;
  // Whether the replica itself has said in this run that it is at a cut the tracker knows.
  void SetInStep(bool in_step) EXCLUDES(mutex_);
  Inquiry Inquire(uint64_t connection) EXCLUDES(mutex_);
  // `real_applied`: the cut that what is applied was made from, if it is a set of no moment; else
  // the same as position.applied.
  void SetPosition(const Position& position, const CutName& real_applied, const Inquiry& inquiry)
      EXCLUDES(mutex_);
  // Returns when the replica was last heard, or nullopt if the newest question has not been
  // answered over this connection.
  std::optional<CondVar::Clock::time_point> AnsweredAt(uint64_t connection) EXCLUDES(mutex_);

  // What the replica's cut lacks, and what falls short there.
  Lacking& lacking() { return lacking_; }
  ShortDebts& short_debts() { return short_debts_; }

  // ---- Any thread
  // The epoch that the replica is known to have applied; the first if its cut is none of ours.
  Epoch applied() EXCLUDES(mutex_);
  // Counts a question: a position that counts for it is asked for after this call.
  uint64_t Ask() EXCLUDES(mutex_);
  // The same, if the replica counts as current and no question has been answered for so long; or
  // returns one that has not been answered yet. Otherwise returns nullopt.
  std::optional<uint64_t> AskIfUnheardFor(std::chrono::milliseconds time) EXCLUDES(mutex_);
  // Waits for the answer to question `ask`, or to a later one.
  void AwaitAnswer(uint64_t ask, CondVar::Clock::time_point deadline) EXCLUDES(mutex_);
  enum class Waited {
    kApplied,
    kShort,  // applied, but for objects that fall short on the replica
    kNotInTime,
  };
  // Waits until the replica has said, in answer to question `ask` or a later one, that it has
  // applied `epoch`.
  Waited WaitUntilApplied(uint64_t ask, Epoch epoch, CondVar::Clock::time_point deadline)
      EXCLUDES(mutex_);
  // Waiting threads return.
  void Stop() EXCLUDES(mutex_);

  // "STATE" or "STATE: ERROR", for messages.
  std::string StateText() EXCLUDES(mutex_);
  // Fills in state, cuts, lag, error and notice, and that something is pending if it cannot be
  // counted, as far as they are known here. Returns the
  // connection over which the replica was heard when it was as described; 0: none.
  uint64_t Describe(ReplicaStatus& status) EXCLUDES(mutex_);

 private:
  const std::string name_;
  meta::Tracker& tracker_;
  const int64_t started_ns_;
  Lacking lacking_;
  ShortDebts short_debts_;

  Mutex mutex_;
  CondVar changed_;
  bool stopping_ GUARDED_BY(mutex_) = false;
  ReplicaState state_ GUARDED_BY(mutex_) = ReplicaState::kConnecting;
  std::string error_ GUARDED_BY(mutex_);
  std::string logged_ GUARDED_BY(mutex_);  // the last StateText that was
  std::string notice_ GUARDED_BY(mutex_);
  CutName durable_ GUARDED_BY(mutex_);
  CutName applied_ GUARDED_BY(mutex_);
  CutName behind_since_ GUARDED_BY(mutex_);  // applied_, or the cut it was made from
  bool in_step_ GUARDED_BY(mutex_) = false;
  uint64_t asks_ GUARDED_BY(mutex_) = 0;
  Inquiry heard_ GUARDED_BY(mutex_);  // the newest that was answered
  CondVar::Clock::time_point heard_at_ GUARDED_BY(mutex_){};
};

// Whether a replica that is so far behind is not called current.
bool IsFarBehind(double lag_seconds, uint64_t pending_bytes);

}  // namespace tandem::replica
