// Requests that may wait long for the disk beneath, and how many of them are handled at a time.
//
// A thread that reads from /dev/fuse cannot choose what comes. So the thread that has read such a
// request handles it itself while fewer than `most` are being handled, and is not counted among
// those that serve the others. What comes beyond that waits here, in the order it came, for a
// thread that has just handled another one: a disk that makes all writers wait does not keep stat
// waiting. Beyond kMaxQueuedBytes of requests that wait, they are handled like any other, and then
// all may wait.
//
// Not synchronised: the owner locks.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <list>
#include <optional>
#include <utility>

#include "fs/serving/fuse_api.h"
#include "fs/serving/may_block.h"

namespace tandem::fs {

// One request as it was read.
class RequestBuffer {
 public:
  RequestBuffer() = default;
  RequestBuffer(RequestBuffer&& other) noexcept
      : buffer_(std::exchange(other.buffer_, {})), bytes_(std::exchange(other.bytes_, 0)) {}
  RequestBuffer& operator=(RequestBuffer&&) = delete;
  // What std::optional moves is empty afterwards, which the analyzer does not see.
  ~RequestBuffer() { std::free(buffer_.mem); }  // NOLINT(clang-analyzer-unix.Malloc)

  // For fuse_session_receive_buf, which allocates what it needs and leaves it for the next.
  fuse_buf* get() { return &buffer_; }
  // FUSE_LOOKUP and so on, of linux/fuse.h; 0 of what is no request.
  uint32_t opcode() const;
  // Moves the request to `other`, which is empty. False: no memory, and nothing was moved.
  [[nodiscard]] bool MoveTo(RequestBuffer& other);
  // What keeping it takes, once moved.
  size_t bytes() const { return bytes_; }

 private:
  fuse_buf buffer_ = {};
  size_t bytes_ = 0;
};

class BlockingRequests {
 public:
  explicit BlockingRequests(unsigned most) : most_(most) {}

  enum class Turn {
    kNow,    // to be handled here; Next is to be called afterwards
    kLater,  // it was taken away, and will be handled
    kPlain,  // to be handled here as one that does not block
  };
  Turn Admit(RequestBuffer& request);
  // One was handled. Returns the one to be handled next in its place, if any waits.
  std::optional<RequestBuffer> Next();
  // Being handled.
  unsigned running() const { return running_; }
  size_t waiting() const { return waiting_.size(); }

 private:
  const unsigned most_;
  unsigned running_ = 0;
  std::list<RequestBuffer> waiting_;
  size_t waiting_bytes_ = 0;
};

}  // namespace tandem::fs
