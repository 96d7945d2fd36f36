#include "fs/serving/request.h"

#include <unistd.h>

#include <cassert>
#include <cerrno>

#include "fs/serving/ring_threads.h"

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TANDEM_UNDER_TSAN
#endif
#elif defined(__SANITIZE_THREAD__)
#define TANDEM_UNDER_TSAN
#endif
#if defined(TANDEM_UNDER_TSAN)
#include <sanitizer/tsan_interface.h>
#endif

namespace tandem::fs {
namespace {

// A reply happens before the requests that the kernel sends because of it (a release after the last
// read of a file). ThreadSanitizer cannot see that order, since it goes through the kernel.
#if defined(TANDEM_UNDER_TSAN)
char kernel_order;
void RequestReceived() { __tsan_acquire(&kernel_order); }
void ReplyDue() { __tsan_release(&kernel_order); }
#else
void RequestReceived() {}
void ReplyDue() {}
#endif

}  // namespace

int ErrnoOf(const Error& error) {
  if (error.kind() == ErrorKind::kSystem) return error.code();
  return MeansNoRoom(error) ? ENOSPC : EIO;
}

Request::Request(fuse_req_t request) : request_(request) { RequestReceived(); }

Request::~Request() {
  if (!answered_) fuse_reply_err(Answer(), EIO);
}

fuse_req_t Request::Answer() {
  assert(!answered_);
  answered_ = true;
  ReplyDue();
  return request_;
}

const CallerStatus& Request::caller_status() {
  if (!caller_status_) caller_status_ = CallerStatus::Of(caller());
  return *caller_status_;
}

void Request::Fail(const Error& error) { fuse_reply_err(Answer(), ErrnoOf(error)); }

void Request::Succeed() { fuse_reply_err(Answer(), 0); }

void Request::ReplyNothing() { fuse_reply_none(Answer()); }

bool Request::ReplyEntry(const fuse_entry_param& entry) {
  return fuse_reply_entry(Answer(), &entry) == 0;
}

bool Request::ReplyOpen(const fuse_file_info& info) {
  return fuse_reply_open(Answer(), &info) == 0;
}

bool Request::ReplyCreate(const fuse_entry_param& entry, const fuse_file_info& info) {
  return fuse_reply_create(Answer(), &entry, &info) == 0;
}

bool Request::ReplyBytes(std::string_view bytes) {
  return fuse_reply_buf(Answer(), bytes.data(), bytes.size()) == 0;
}

void Request::ReplyAttributes(const struct stat& attributes, double valid_seconds) {
  fuse_reply_attr(Answer(), &attributes, valid_seconds);
}

#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 18)
void Request::ReplyStatx(struct statx& attributes, double valid_seconds) {
  fuse_reply_statx(Answer(), 0, &attributes, valid_seconds);
}
#endif

void Request::ReplyLink(const char* target) { fuse_reply_readlink(Answer(), target); }

void Request::ReplyData(fuse_bufvec& data) {
  const fuse_buf& from = data.buf[0];
  const std::span<char> space = RingThreads::ReplySpace();
  if (space.empty()) {
    fuse_reply_data(Answer(), &data, static_cast<fuse_buf_copy_flags>(0));
    return;
  }
  if (space.size() < from.size) {  // more than was agreed
    fuse_reply_err(Answer(), EIO);
    return;
  }
  const ssize_t read = pread(from.fd, space.data(), from.size, from.pos);
  if (read < 0) {
    fuse_reply_err(Answer(), errno);
  } else {
    fuse_reply_buf(Answer(), space.data(), static_cast<size_t>(read));
  }
}

void Request::ReplyWritten(size_t count) { fuse_reply_write(Answer(), count); }

void Request::ReplyOffset(off_t offset) { fuse_reply_lseek(Answer(), offset); }

void Request::ReplyXattrSize(size_t size) { fuse_reply_xattr(Answer(), size); }

void Request::ReplyControl(std::string_view bytes) {
  fuse_reply_ioctl(Answer(), 0, bytes.data(), bytes.size());
}

void Request::ReplyStatfs(const struct statvfs& statistics) {
  fuse_reply_statfs(Answer(), &statistics);
}

}  // namespace tandem::fs
