#include "replica/source/cut_progress.h"

#include <algorithm>

namespace tandem::replica {

void CutProgress::Clear() {
  MutexLock lock(mutex_);
  through_ = Epoch();
  left_ = {};
  object_ = {};
  sending_ = false;
}

meta::PendingCounts CutProgress::BeginCut(meta::FrozenCut& cut) {
  meta::PendingCounts counts;
  for (const meta::ChangeSet& shard : cut.changes().shards) {
    for (const auto& [object, change] : shard) counts.Add(change);
  }
  MutexLock lock(mutex_);
  through_ = cut.cut().name.epoch;
  left_ = counts;
  object_ = {};
  sending_ = true;
  return counts;
}

void CutProgress::BeginObject(const meta::ObjectChange& change) {
  MutexLock lock(mutex_);
  object_ = {};
  object_.Add(change);
  content_before_ = content_.content_bytes;
}

void CutProgress::EndObject() {
  MutexLock lock(mutex_);
  left_.Subtract(object_);
  object_ = {};
}

void CutProgress::AllSent(Epoch cut) {
  MutexLock lock(mutex_);
  through_ = cut;
  left_ = {};
  object_ = {};
  sending_ = false;
}

meta::PendingCounts CutProgress::Remaining(meta::Tracker& tracker, Epoch applied) {
  meta::PendingCounts left;
  Epoch through = applied;
  {
    MutexLock lock(mutex_);
    if (through_ > applied) {
      through = through_;
      left = left_;
      const uint64_t sent = content_.content_bytes - content_before_;
      left.bytes -= std::min({left.bytes, object_.bytes, sent});
      if (sending_) left.bytes += content_.unanswered_bytes;
      left.objects = std::max<uint64_t>(left.objects, 1);
    }
  }
  left.Add(tracker.PendingAfter(through));
  return left;
}

}  // namespace tandem::replica
