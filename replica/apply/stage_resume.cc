// A stage that was broken off is gone on with.
#include <unistd.h>

#include <algorithm>

#include "replica/apply/stage.h"
#include "replica/apply/stage_frames.h"

namespace tandem::replica {

void Stage::ParkLocked(CutId next_attempt) {
  attempt_ = next_attempt;
  while (!taking_.empty()) taken_.Wait(mutex_);
}

void Stage::Park() {
  MutexLock lock(mutex_);
  ParkLocked(CutId());
}

Result<std::optional<uint64_t>> Stage::Resume(CutId attempt) {
  MutexLock lock(mutex_);
  ParkLocked(attempt);
  if (removed_ || commit_ || is_spare_ || origin_.source.is_null()) return std::nullopt;
  const auto [chunks, end] = WholeBeginning();
  if (!files_.ResumeAt(chunks)) return std::nullopt;
  if (ftruncate(fd_.get(), static_cast<off_t>(end)) != 0) return ErrnoError(Named("cut off"));
  frames_.erase(frames_.lower_bound(chunks), frames_.end());
  end_ = end;
  Header header = Header::For(kResumeFrame, "");
  header.sequence = chunks;
  RETURN_IF_ERROR(WriteFrame(header, ""));
  resumed_at_.push_back(chunks);
  resumed_end_ = end_;
  ForgetEntries();
  return chunks;
}

// Chunks arrive in any order, and the frames behind the returned place are cut off. So the chunks
// that stay must be those up to some number, and their frames those up to some place.
std::pair<uint64_t, uint64_t> Stage::WholeBeginning() const {
  std::vector<std::pair<uint64_t, uint64_t>> ends;  // of the frames: place, and sequence
  for (const auto& [sequence, frame] : frames_) {
    if (sequence >= LastResumedAt()) ends.emplace_back(frame.offset + frame.size, sequence);
  }
  std::ranges::sort(ends);
  std::pair<uint64_t, uint64_t> whole(LastResumedAt(), resumed_end_);
  uint64_t count = whole.first;
  uint64_t beyond = whole.first;
  for (const auto& [end, sequence] : ends) {
    ++count;
    beyond = std::max(beyond, sequence + 1);
    if (count == beyond) whole = {count, end};
  }
  return whole;
}

// Names may have been removed from the source since, and nobody would say so: they are sent again.
void Stage::ForgetEntries() {
  for (auto& [sequence, frame] : frames_) frame.outline.entries = {};
}

}  // namespace tandem::replica
