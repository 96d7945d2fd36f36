// How much of the change set under way has been sent, so that status can tell what is still pending
// on one replica. The sender's thread writes, any thread reads.
#pragma once

#include <atomic>
#include <cstdint>

#include "meta/base/mutex.h"
#include "meta/frozen_cut.h"
#include "meta/tracker.h"

namespace tandem::replica {

// Shown in status while a change set is under way. Written by the sender's thread, read by any.
struct ShipProgress {
  std::atomic<uint64_t> objects{0};
  std::atomic<uint64_t> content_bytes{0};  // of content looked at, whatever it took to send it
};

class CutProgress {
 public:
  // `content` must outlive it, and counts what is sent of the object under way.
  explicit CutProgress(const ShipProgress& content) : content_(content) {}

  // A stage begins, or is lost: nothing of it has been sent.
  void Clear() EXCLUDES(mutex_);
  // The cut is about to be sent. Returns what it holds.
  meta::PendingCounts BeginCut(meta::FrozenCut& cut) EXCLUDES(mutex_);
  void BeginObject(const meta::ObjectChange& change) EXCLUDES(mutex_);
  void EndObject() EXCLUDES(mutex_);
  // All changes up to this cut have been sent.
  void AllSent(Epoch cut) EXCLUDES(mutex_);

  // What a replica that has applied `applied` still has to be sent. As long as it has not applied
  // what it was sent, this is never nothing.
  meta::PendingCounts Remaining(meta::Tracker& tracker, Epoch applied) EXCLUDES(mutex_);

 private:
  const ShipProgress& content_;
  Mutex mutex_;
  Epoch through_ GUARDED_BY(mutex_);             // sent, or being sent
  meta::PendingCounts left_ GUARDED_BY(mutex_);  // of the cut under way, the object's included
  meta::PendingCounts object_ GUARDED_BY(mutex_);
  uint64_t content_before_ GUARDED_BY(mutex_) = 0;
};

}  // namespace tandem::replica
