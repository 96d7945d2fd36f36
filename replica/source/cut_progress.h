// How much of the change set under way has been sent, so that status can tell what is still pending
// on one replica. Only the sender's thread writes it; any thread may read it.
#pragma once

#include <atomic>
#include <cstdint>

#include "meta/base/mutex.h"
#include "meta/capture/frozen_cut.h"
#include "meta/capture/tracker.h"
#include "replica/source/replica_status.h"

namespace tandem::replica {

// What status shows while a change set is under way. Only the sender's thread writes it; any thread
// may read it.
struct ShipProgress {
  std::atomic<uint64_t> objects{0};
  std::atomic<uint64_t> content_bytes{0};  // of content looked at, whatever it took to send it
  // Of content looked at, what the replica has not yet said it has. Chunks wait in the kernel's
  // buffers for as long as the link takes.
  std::atomic<uint64_t> unanswered_bytes{0};
  // Of content, what the replica has said it has, in all.
  std::atomic<uint64_t> answered_bytes{0};
  // As in SentContent.
  std::atomic<uint64_t> plain{0};
  std::atomic<uint64_t> delta{0};
  std::atomic<uint64_t> copied{0};
  std::atomic<uint64_t> compressed{0};

  SentContent sent_content() const { return {plain, delta, copied, compressed}; }
};

class CutProgress {
 public:
  // `content` counts what is sent of the object under way. It must outlive this.
  explicit CutProgress(const ShipProgress& content) : content_(content) {}

  // Called when a stage begins or is lost: nothing of it has been sent.
  void Clear() EXCLUDES(mutex_);
  // The cut is about to be sent. Returns what it holds.
  meta::PendingCounts BeginCut(meta::FrozenCut& cut) EXCLUDES(mutex_);
  void BeginObject(const meta::ObjectChange& change) EXCLUDES(mutex_);
  void EndObject() EXCLUDES(mutex_);
  // All changes up to this cut have been sent.
  void AllSent(Epoch cut) EXCLUDES(mutex_);

  // Returns what still has to be sent to a replica that has applied `applied`. Not zero as long as
  // the replica has not applied what it was sent.
  meta::PendingCounts Remaining(meta::Tracker& tracker, Epoch applied) EXCLUDES(mutex_);

 private:
  const ShipProgress& content_;
  Mutex mutex_;
  Epoch through_ GUARDED_BY(mutex_);             // sent, or being sent
  meta::PendingCounts left_ GUARDED_BY(mutex_);  // of the cut under way, the object's included
  bool sending_ GUARDED_BY(mutex_) = false;      // from BeginCut to AllSent or Clear
  meta::PendingCounts object_ GUARDED_BY(mutex_);
  uint64_t content_before_ GUARDED_BY(mutex_) = 0;
};

}  // namespace tandem::replica
