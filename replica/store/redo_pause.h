// Holds off redoes of a volume while its tree and its catalog are looked at. A redo that is due
// goes first: a verify that asks without end delays it by one request, not for ever.
//
// Any thread; lives as short as possible.
#pragma once

#include <optional>

#include "replica/store/apply_queue.h"

namespace tandem::replica {

class RedoPause {
 public:
  // Waits up to a second for a redo to end. `queue` is borrowed.
  explicit RedoPause(ApplyQueue& queue) : queue_(queue), refusal_(queue.BeginPause()) {}
  ~RedoPause() {
    if (!refusal_) queue_.EndPause();
  }
  RedoPause(const RedoPause&) = delete;
  RedoPause& operator=(const RedoPause&) = delete;

  // If there is one, redoes are not held off, and this is the answer.
  const std::optional<Reply>& refusal() const { return refusal_; }

 private:
  ApplyQueue& queue_;
  const std::optional<Reply> refusal_;
};

}  // namespace tandem::replica
