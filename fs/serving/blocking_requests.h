// Admission of requests that may block (may_block.h): how many are handled at a time, and a queue
// for the others.
//
// A thread that reads from /dev/fuse cannot choose which request it gets. If it gets a blocking one
// and fewer than `max_running` are being handled, it handles the request itself and stops counting
// as one of the threads that serve the others. Otherwise the request is queued here, and threads
// that finish a blocking request handle the queue in order. So a disk that blocks all writers does
// not delay a stat. Once the queue holds kMaxQueuedBytes, further blocking requests are handled
// like any other, and may delay all of them.
//
// Not thread-safe: the owner locks.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <list>
#include <optional>
#include <utility>

#include "fs/serving/fuse_api.h"
#include "fs/serving/may_block.h"

namespace tandem::fs {

// One request as it was read from the kernel.
class RequestBuffer {
 public:
  RequestBuffer() = default;
  RequestBuffer(RequestBuffer&& other) noexcept
      : buffer_(std::exchange(other.buffer_, {})), bytes_(std::exchange(other.bytes_, 0)) {}
  RequestBuffer& operator=(RequestBuffer&&) = delete;
  // The analyzer does not see that a moved-from buffer is empty.
  ~RequestBuffer() { std::free(buffer_.mem); }  // NOLINT(clang-analyzer-unix.Malloc)

  // For fuse_session_receive_buf, which allocates memory and reuses it for the next request.
  fuse_buf* get() { return &buffer_; }
  // FUSE_LOOKUP and so on (linux/fuse.h). Returns 0 if the buffer holds no request.
  uint32_t opcode() const;
  // Moves the request to `other`, which must be empty. Returns false, and moves nothing, if there
  // is no memory.
  [[nodiscard]] bool MoveTo(RequestBuffer& other);
  // Bytes that a moved request takes in the queue.
  size_t bytes() const { return bytes_; }

 private:
  fuse_buf buffer_ = {};
  size_t bytes_ = 0;
};

class BlockingRequests {
 public:
  explicit BlockingRequests(unsigned max_running) : max_running_(max_running) {}

  enum class Admission {
    kUncounted,  // the caller handles it; it does not block, or the queue is full
    kCounted,    // the caller handles it and then calls Next
    kQueued,     // `request` was moved to the queue
  };
  Admission Admit(RequestBuffer& request);
  // Called after a counted request was handled. Returns the request that the caller handles next,
  // or nullopt if the queue is empty; then the caller counts as an ordinary thread again.
  std::optional<RequestBuffer> Next();
  // Blocking requests being handled.
  unsigned running() const { return running_; }
  // Requests in the queue.
  size_t waiting() const { return waiting_.size(); }

 private:
  const unsigned max_running_;
  unsigned running_ = 0;
  std::list<RequestBuffer> waiting_;
  size_t waiting_bytes_ = 0;
};

}  // namespace tandem::fs
