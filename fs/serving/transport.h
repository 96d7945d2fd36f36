// How requests and replies pass between libfuse and the kernel: over /dev/fuse, or over io_uring
// where that is wanted and the kernel offers it (ring_threads.h). libfuse hands every reply to
// Write, whatever thread it comes from, and Write finds out where the request came from.
//
// libfuse has rings of its own, which are not used: one thread serves a processor's requests one
// after the other, so one that waits holds up the others, and replies by other threads wait as
// well.
//
// Attach and Stop belong to one thread; libfuse calls Read and Write from any.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "fs/serving/fuse_api.h"
#include "fs/serving/ring_threads.h"
#include "meta/base/result.h"

namespace tandem::fs {

class Transport {
 public:
  // `transport_of`: returns the Transport of a session's user data.
  // Called before the session serves, when it has its descriptor. Fails if libfuse was built
  // without fuse_session_custom_io; then everything goes over /dev/fuse.
  using TransportOf = Transport& (*)(void* user_data);
  template <TransportOf kTransportOf>
  Status Attach(fuse_session* session) {
    fuse_custom_io io = {};
    io.read = [](int fd, void* buffer, size_t size, void* user_data) {
      return kTransportOf(user_data).Read(fd, buffer, size);
    };
    io.writev = [](int fd, iovec* reply, int count, void* user_data) {
      return kTransportOf(user_data).Write(fd, reply, count);
    };
    io.splice_send = &Transport::Splice;
    return Attach(session, io);
  }

  // Ends the threads of the rings (RingThreads::Stop).
  void Stop();
  // Whether requests come over io_uring.
  bool over_io_uring() const {
    const RingThreads* const rings = rings_in_use_.load(std::memory_order_acquire);
    return rings != nullptr && rings->used();
  }

 private:
  Status Attach(fuse_session* session, const fuse_custom_io& io);
  ssize_t Read(int fd, void* buffer, size_t size);
  ssize_t Write(int fd, const iovec* reply, int count);
  static ssize_t Splice(int from, off_t* from_offset, int to, off_t* to_offset, size_t length,
                        unsigned flags, void* user_data);
  // Agrees with the kernel on io_uring, in the reply to FUSE_INIT, and starts the rings.
  ssize_t WriteInit(int fd, const iovec* reply, int count);

  fuse_session* session_ = nullptr;
  // Of a FUSE_INIT whose reply is to agree on io_uring; 0: none.
  std::atomic<uint64_t> init_{0};
  std::unique_ptr<RingThreads> rings_;
  std::atomic<RingThreads*> rings_in_use_{nullptr};  // null until they have been started
};

}  // namespace tandem::fs
