#include "replica/source/pace.h"

namespace tandem::replica {

void Pace::Set(size_t window, Clock::time_point now) {
  window = std::clamp(window, kLeastWindow, kLargestWindow);
  if (window == window_) return;
  window_ = window;
  since_ = now;
}

void Pace::Answered(Clock::time_point sent, Clock::duration took, size_t under_way) {
  quickest_ = std::min(quickest_, took);
  if (sent < since_) return;
  if (took > kAnswerIsLate) {
    Set(window_ / 2, sent + took);
  } else if (took < kAnswerIsQuick && under_way >= window_ / 2) {
    if (window_ < kUsualWindow || IsForTheWay(took)) Set(window_ * 2, sent + took);
  }
}

void Pace::Lost(Clock::time_point now) { Set(window_ / 4, now); }

}  // namespace tandem::replica
