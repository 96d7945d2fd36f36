// One FUSE request. It is answered exactly once: by one of the replies below, or with EIO by the
// destructor. Used by one thread at a time. Leave the gate and release locks before a reply: the
// caller runs on, and may send the next request, as soon as the reply is sent.
#pragma once

#include <optional>
#include <string_view>
#include <utility>

#include "fs/serving/caller_status.h"
#include "fs/serving/fuse_api.h"
#include "meta/base/result.h"

namespace tandem::fs {

// Returns the errno that an application sees for `error`. An error of a system call keeps its own.
// Any other error, such as one of the state database, becomes ENOSPC if it means that there is no
// room, and EIO otherwise: another errno would describe the application's own files (EROFS, EACCES)
// or ask it to try again (EBUSY).
int ErrnoOf(const Error& error);

class Request {
 public:
  explicit Request(fuse_req_t request);
  // Moves the duty to answer, for a thread that answers later.
  Request(Request&& other) noexcept
      : request_(other.request_), answered_(std::exchange(other.answered_, true)) {}
  Request& operator=(const Request&) = delete;
  ~Request();

  // The caller's uid, gid, thread id and umask. Valid until the reply.
  const fuse_ctx& caller() const { return *fuse_req_ctx(request_); }
  // Its groups and capabilities. Read from /proc at the first call.
  const CallerStatus& caller_status();
  // For fuse_add_direntry and the like.
  fuse_req_t raw() const { return request_; }

  void Fail(const Error& error);
  // Replies success, to requests whose reply has no content.
  void Succeed();
  // For forget, which the kernel wants no reply to.
  void ReplyNothing();

  // These return false if the kernel no longer waits for the reply (the caller was interrupted).
  // Then the handler takes back what the reply announced: a lookup or an open file.
  [[nodiscard]] bool ReplyEntry(const fuse_entry_param& entry);
  [[nodiscard]] bool ReplyOpen(const fuse_file_info& info);
  [[nodiscard]] bool ReplyCreate(const fuse_entry_param& entry, const fuse_file_info& info);
  [[nodiscard]] bool ReplyBytes(std::string_view bytes);

  void ReplyAttributes(const struct stat& attributes, double valid_seconds);
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 18)
  void ReplyStatx(struct statx& attributes, double valid_seconds);
#endif
  void ReplyLink(const char* target);
  // `data` is one range of a file, by descriptor.
  void ReplyData(fuse_bufvec& data);
  void ReplyWritten(size_t count);
  void ReplyOffset(off_t offset);
  void ReplyXattrSize(size_t size);
  void ReplyControl(std::string_view bytes);  // to an ioctl
  void ReplyStatfs(const struct statvfs& statistics);

 private:
  // Returns the request and marks it answered.
  fuse_req_t Answer();

  const fuse_req_t request_;
  bool answered_ = false;
  std::optional<CallerStatus> caller_status_;
};

}  // namespace tandem::fs
