#include "fs/serving/transport.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "fs/serving/uring_abi.h"
#include "meta/base/log.h"

namespace tandem::fs {
namespace {

const size_t kPage = static_cast<size_t>(sysconf(_SC_PAGESIZE));

// Copies as much of a structure as there is: older kernels have shorter ones.
template <typename Structure>
Structure CopyOf(const void* bytes, size_t length) {
  Structure structure = {};
  std::memcpy(&structure, bytes, std::min(length, sizeof structure));
  return structure;
}

}  // namespace

Status Transport::Attach(fuse_session* session, const fuse_custom_io& io) {
  session_ = session;
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
  const int error = fuse_session_custom_io_317(session, &io, sizeof io, fuse_session_fd(session));
#else
  const int error = fuse_session_custom_io(session, &io, fuse_session_fd(session));
#endif
  return error == 0 ? Status() : ErrnoError(-error, "fuse_session_custom_io of this libfuse");
}

void Transport::Stop() {
  if (RingThreads* const rings = rings_in_use_.load()) rings->Stop();
}

ssize_t Transport::Read(int fd, void* buffer, size_t size) {
  const ssize_t length = read(fd, buffer, size);
  if (length < static_cast<ssize_t>(sizeof(fuse_in_header) + sizeof(fuse_init_in))) return length;
  const auto in = CopyOf<fuse_in_header>(buffer, sizeof(fuse_in_header));
  if (in.opcode != FUSE_INIT) return length;
  const auto init = CopyOf<fuse_init_in>(static_cast<const char*>(buffer) + sizeof in,
                                         static_cast<size_t>(length) - sizeof in);
  const bool offered =
      (init.flags & FUSE_INIT_EXT) != 0 && (init.flags2 & uring_abi::kOverIoUring) != 0;
  if (offered) init_ = in.unique;
  return length;
}

ssize_t Transport::Write(int fd, const iovec* reply, int count) {
  const auto out = CopyOf<fuse_out_header>(reply[0].iov_base, reply[0].iov_len);
  if (out.unique != 0) {  // 0: a notification
    if (out.unique == init_.load(std::memory_order_relaxed)) return WriteInit(fd, reply, count);
    RingThreads* const rings = rings_in_use_.load(std::memory_order_acquire);
    if (rings != nullptr && rings->Answer(out.unique, reply, count)) return out.len;
  }
  return writev(fd, reply, count);
}

ssize_t Transport::WriteInit(int fd, const iovec* reply, int count) {
  init_ = 0;
  const auto out = CopyOf<fuse_out_header>(reply[0].iov_base, reply[0].iov_len);
  // A first FUSE_INIT may be answered with the version to be asked for again.
  const bool agreed = out.error == 0 && count == 2 && reply[1].iov_len == sizeof(fuse_init_out);
  if (!agreed) return writev(fd, reply, count);
  auto init = CopyOf<fuse_init_out>(reply[1].iov_base, reply[1].iov_len);
  const size_t payload = std::max(
      {size_t{init.max_write}, size_t{init.max_pages} * kPage, size_t{FUSE_MIN_READ_BUFFER}});
  rings_ = std::make_unique<RingThreads>(RingThreads::Options{session_, fd, payload});
  if (const Status started = rings_->Start(); !started) {
    LogWarning("requests come over /dev/fuse: {}", started.error().ToString());
    rings_.reset();
    return writev(fd, reply, count);
  }
  init.flags |= FUSE_INIT_EXT;
  init.flags2 |= uring_abi::kOverIoUring;
  const iovec parts[] = {reply[0], {&init, sizeof init}};
  const ssize_t written = writev(fd, parts, 2);
  if (written < 0) {
    rings_.reset();
    return written;
  }
  rings_in_use_.store(rings_.get(), std::memory_order_release);
  rings_->Register();
  return written;
}

ssize_t Transport::Splice(int from, off_t* from_offset, int to, off_t* to_offset, size_t length,
                          unsigned flags, void* /*user_data*/) {
  return splice(from, from_offset, to, to_offset, length, flags);
}

}  // namespace tandem::fs
