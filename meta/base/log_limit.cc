#include "meta/base/log_limit.h"

namespace tandem {

std::optional<std::string> LogLimit::Suffix(const std::string& cause, Time now) {
  MutexLock lock(mutex_);
  auto seen = seen_.find(cause);
  if (seen == seen_.end() && seen_.size() >= kMostCauses) {
    // What was left out of a cause is lost if the cause does not come again.
    std::erase_if(seen_, [&](const auto& one) {
      return !one.first.empty() && now - one.second.written >= period_;
    });
    if (seen_.size() >= kMostCauses) seen = seen_.try_emplace("").first;
  }
  if (seen == seen_.end()) {
    seen_[cause].written = now;
    return "";
  }
  Seen& one = seen->second;
  const bool is_new = one.written == Time();
  if (!is_new && now - one.written < period_) {
    ++one.left_out;
    return std::nullopt;
  }
  const uint64_t left_out = one.left_out;
  one = {now, 0};
  return left_out == 0 ? "" : " (and " + std::to_string(left_out) + " more like it)";
}

}  // namespace tandem
