// One request of the kernel, answered exactly once: by one of the replies below, or with EIO by the
// destructor. A request belongs to the thread that handles it. Leave the gate and release locks
// before replying: the caller runs on, and may come back, as soon as the reply is out.
#pragma once

#include <optional>
#include <string_view>
#include <utility>

#include "fs/serving/caller_status.h"
#include "fs/serving/fuse_api.h"
#include "meta/base/result.h"

namespace tandem::fs {

// The errno an application sees for an error of ours. A system call's is its own. Of any other
// trouble, the state database's above all, it sees that there is no room, or EIO: the others would
// say something about its own files (EROFS, EACCES), or ask it to try again (EBUSY).
int ErrnoOf(const Error& error);

class Request {
 public:
  explicit Request(fuse_req_t request);
  // For a thread that answers later; the other one counts as answered.
  Request(Request&& other) noexcept
      : request_(other.request_), answered_(std::exchange(other.answered_, true)) {}
  Request& operator=(const Request&) = delete;
  ~Request();

  // The caller. Valid until the reply.
  const fuse_ctx& caller() const { return *fuse_req_ctx(request_); }
  // And what else that is. Read from /proc when first asked for.
  const CallerStatus& caller_status();
  // For fuse_add_direntry and the like.
  fuse_req_t raw() const { return request_; }

  void Fail(const Error& error);
  // Success, for requests whose reply holds nothing.
  void Succeed();
  // For forget, which wants no reply at all.
  void ReplyNothing();

  // False: the kernel no longer waits for it (the caller was interrupted), and what the reply
  // announced, a lookup or an open file, is the handler's to take back.
  [[nodiscard]] bool ReplyEntry(const fuse_entry_param& entry);
  [[nodiscard]] bool ReplyOpen(const fuse_file_info& info);
  [[nodiscard]] bool ReplyCreate(const fuse_entry_param& entry, const fuse_file_info& info);
  [[nodiscard]] bool ReplyBytes(std::string_view bytes);

  void ReplyAttributes(const struct stat& attributes, double valid_seconds);
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 18)
  void ReplyStatx(struct statx& attributes, double valid_seconds);
#endif
  void ReplyLink(const char* target);
  void ReplyData(fuse_bufvec& data);
  void ReplyWritten(size_t count);
  void ReplyOffset(off_t offset);
  void ReplyXattrSize(size_t size);
  void ReplyControl(std::string_view bytes);  // to an ioctl
  void ReplyStatfs(const struct statvfs& statistics);

 private:
  // The request, which from now on counts as answered.
  fuse_req_t Answer();

  const fuse_req_t request_;
  bool answered_ = false;
  std::optional<CallerStatus> caller_status_;
};

}  // namespace tandem::fs
