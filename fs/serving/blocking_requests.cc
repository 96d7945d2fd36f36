#include "fs/serving/blocking_requests.h"

#include <linux/fuse.h>

#include <cstring>
#include <new>

#include "fs/serving/tuning.h"

namespace tandem::fs {

uint32_t RequestBuffer::opcode() const {
  fuse_in_header header;
  if (buffer_.mem == nullptr || buffer_.size < sizeof header) return 0;
  if ((buffer_.flags & FUSE_BUF_IS_FD) != 0) return 0;
  std::memcpy(&header, buffer_.mem, sizeof header);
  return header.opcode;
}

bool RequestBuffer::MoveTo(RequestBuffer& other) {
  if (buffer_.size > kMaxCopiedRequest) {
    other.buffer_ = std::exchange(buffer_, {});
  } else {
    void* const copy = std::malloc(buffer_.size);
    if (copy == nullptr) return false;
    std::memcpy(copy, buffer_.mem, buffer_.size);
    other.buffer_ = buffer_;
    other.buffer_.mem = copy;
  }
  other.bytes_ = other.buffer_.size + kQueuedOverhead;
  return true;
}

BlockingRequests::Admission BlockingRequests::Admit(RequestBuffer& request) {
  if (!MayBlock(request.opcode())) return Admission::kUncounted;
  if (running_ < max_running_) {
    ++running_;
    return Admission::kCounted;
  }
  if (waiting_bytes_ >= kMaxQueuedBytes) return Admission::kUncounted;
  std::list<RequestBuffer> one;
  try {
    one.emplace_back();
  } catch (const std::bad_alloc&) {
    return Admission::kUncounted;
  }
  if (!request.MoveTo(one.back())) return Admission::kUncounted;
  waiting_bytes_ += one.back().bytes();
  waiting_.splice(waiting_.end(), one);
  return Admission::kQueued;
}

std::optional<RequestBuffer> BlockingRequests::Next() {
  if (waiting_.empty()) {
    --running_;
    return std::nullopt;
  }
  std::optional<RequestBuffer> next(std::move(waiting_.front()));
  waiting_.pop_front();
  waiting_bytes_ -= next->bytes();
  return next;
}

}  // namespace tandem::fs
