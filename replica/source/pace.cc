#include "replica/source/pace.h"

namespace tandem::replica {

void Pace::Set(size_t window, Clock::time_point now) {
  window = std::clamp(window, kLeastWindow, kLargestWindow);
  if (window == window_) return;
  window_ = window;
  since_ = now;
  answers_ = 0;
  bytes_ = seconds_ = rate_before_ = 0;
}

void Pace::Answered(Clock::time_point sent, Clock::duration took, size_t under_way) {
  if (sent < since_) return;
  if (took > kAnswerIsLate) {
    Set(window_ / 2, sent + took);
  } else if (took < kAnswerIsQuick && under_way >= window_ / 2) {
    Grow(sent + took, took, under_way);
  }
}

void Pace::Grow(Clock::time_point now, Clock::duration took, size_t under_way) {
  if (window_ < kUsualWindow) return Set(window_ * 2, now);
  bytes_ += static_cast<double>(under_way);
  seconds_ += std::chrono::duration<double>(took).count();
  if (++answers_ < kWindowAnswers) return;
  const double rate = bytes_ / seconds_;
  if (rate_before_ != 0 && rate < kWindowPays * rate_before_) {
    try_larger_ = now + kTryLargerWindow;
    return Set(window_ / 2, now);
  }
  if (window_ < kLargestWindow && now >= try_larger_) {
    Set(window_ * 2, now);
    rate_before_ = rate;
    return;
  }
  answers_ = 0;
  bytes_ = seconds_ = rate_before_ = 0;
}

void Pace::Lost(Clock::time_point now) { Set(window_ / 4, now); }

}  // namespace tandem::replica
