// Content: read, write, fallocate, copy_file_range, lseek. Stores through shared mappings arrive as
// writes.
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/falloc.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "fs/caller/privileges.h"
#include "fs/file_system.h"
#include "fs/ops/tuning.h"
#include "fs/tuning.h"
#include "meta/base/write_piece.h"

namespace tandem::fs {
namespace {

using meta::Intent;
using meta::Operation;

ByteRange RangeOf(off_t offset, uint64_t length) {
  return ByteRange::Of(static_cast<uint64_t>(offset), length);
}

fuse_bufvec BufferOn(int fd, off_t offset, size_t size) {
  fuse_bufvec buffer = FUSE_BUFVEC_INIT(size);
  buffer.buf[0].flags = static_cast<fuse_buf_flags>(FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK);
  buffer.buf[0].fd = fd;
  buffer.buf[0].pos = offset;
  return buffer;
}

int ErrnoOf(int result) { return result == 0 ? 0 : errno; }

// Returns a negative errno if nothing was written.
ssize_t WriteInPieces(int fd, fuse_bufvec& data, off_t offset, size_t size) {
  size_t written = 0;
  while (written < size) {
    const size_t wanted = std::min(kWritePiece, size - written);
    fuse_bufvec piece = BufferOn(fd, offset + static_cast<off_t>(written), wanted);
    const ssize_t result = fuse_buf_copy(&piece, &data, static_cast<fuse_buf_copy_flags>(0));
    if (result < 0 && written == 0) return result;
    if (result > 0) written += static_cast<size_t>(result);
    if (result < static_cast<ssize_t>(wanted)) break;
  }
  return static_cast<ssize_t>(written);
}

// Returns whether a change by this caller clears setuid and setgid bits.
bool ClearsSetid(Request& request) { return !request.caller_status().Has(CAP_FSETID); }

// The same for a write, for which the kernel may say so.
bool ClearsSetid(Request& request, [[maybe_unused]] const fuse_file_info& info) {
#if defined(TANDEM_HAVE_FUSE_KILL_SUIDGID)
  (void)request;
  return info.kill_suidgid != 0;
#else
  return ClearsSetid(request);
#endif
}

// Fails unless a write at `offset` appends. The kernel does not know that the file is append-only,
// so it may send any offset. It sends appends one at a time.
Status CheckAppends(const OpenFile& file, off_t offset) {
  struct stat now;
  if (fstat(file.fd(), &now) != 0) return ErrnoError("stat");
  if (offset != now.st_size) return ErrnoError(EPERM, "write");
  return {};
}

}  // namespace

bool FileSystem::MayHavePrivileges(const Inode& inode, int fd) {
  const NosecFlag::Snapshot look = inode.nosec().TakeSnapshot();
  if (inode.nosec().IsSet()) return false;
  const Result<bool> has = HasPrivileges(fd);
  return !has || *has || !inode.nosec().SetIfUnchanged(look);
}

// The kernel writes mapped stores back without the inode's lock. So while this waits for its mark,
// another request may give the file a capability, and a cut may ship it. Therefore the flag is
// checked again inside the gate. Privileges given after that are recorded in the same epoch.
Result<FileSystem::ContentChange> FileSystem::BeginContentChange(const Inode& inode, int fd,
                                                                 ByteRange range, bool is_long) {
  while (true) {
    const bool has_privileges = MayHavePrivileges(inode, fd);
    Intent intent;
    intent.Data(inode.ref(), range).Long(is_long);
    if (has_privileges) intent.Attributes(inode.ref());
    ASSIGN_OR_RETURN(Operation operation, Begin(inode, intent));
    if (has_privileges || inode.nosec().IsSet())
      return ContentChange{std::move(operation), has_privileges};
  }
}

void FileSystem::InvalidateAttributes(fuse_ino_t node) {
  constexpr off_t kNoContent = -1;
  fuse_lowlevel_notify_inval_inode(session_, node, kNoContent, 0);
}

// Does everything for a change of content but the reply. Records the whole range of a call that
// failed (EIO, ENOSPC), since it may have changed part of it, unless `changed` returns less. If the
// call may clear privileges it runs inside the gate, so that content and attributes change in the
// same epoch. If it ran outside, it may have cleared privileges given meanwhile, which is recorded
// too.
template <typename ClearsSetid, typename Call, typename Changed>
auto FileSystem::ChangeContent(Request& request, const ContentCall& what, ClearsSetid clears_setid,
                               Call call, Changed changed) -> Result<decltype(call())> {
  const auto& [inode, fd, range, is_long, may_straddle] = what;
  ASSIGN_OR_RETURN(auto change, BeginContentChange(inode, fd, range, is_long));
  auto& [operation, has_privileges] = change;
  decltype(call()) result{};
  {
    const CallerLimits limits(request.caller());
    ASSIGN_OR_RETURN(const auto without,
                     WithoutFsetid::DropIf(has_privileges && clears_setid(), request, fd));
    result = has_privileges || !may_straddle ? call() : operation.Alter(inode.ref(), range, call);
  }
  operation.Wrote(inode.ref(), changed(result));
  const bool cleared_privileges = has_privileges || !inode.nosec().IsSet();
  if (cleared_privileges) operation.ChangedAttributes(inode.ref(), meta::kAllAttributes);
  operation.End();
  if (cleared_privileges) InvalidateAttributes(inodes_->NodeOf(inode));
  return result;
}

Status FileSystem::Read(Request& request, fuse_ino_t /*node*/, size_t size, off_t offset,
                        fuse_file_info* info) {
  fuse_bufvec data = BufferOn(files_.Get(info->fh).fd(), offset, size);
  request.ReplyData(data);
  return {};
}

// A program that opened a file before it became append-only may still write anywhere in it. The
// kernel may send its cached writes through a descriptor that can only append. Until it has sent
// them, appends begin beyond the end that the file has beneath.
UniqueFd FileSystem::FindNonAppendWriter(const Inode& inode) {
  UniqueFd found;
  files_.VisitAll([&](const OpenFile& file) {
    if (file.append_only() || file.writable_inode() != &inode) return false;
    found.Reset(fcntl(file.fd(), F_DUPFD_CLOEXEC, 0));
    return true;
  });
  return found;
}

Status FileSystem::Write(Request& request, fuse_ino_t node, fuse_bufvec* data, off_t offset,
                         fuse_file_info* info) {
  const Inode& inode = inodes_->Get(node);
  const OpenFile& file = files_.Get(info->fh);
  UniqueFd non_append;
  if (file.append_only()) {
    non_append = FindNonAppendWriter(inode);
    if (!non_append.valid()) RETURN_IF_ERROR(CheckAppends(file, offset));
  }
  const int fd = non_append.valid() ? non_append.get() : file.fd();
  const size_t size = fuse_buf_size(data);
  ASSIGN_OR_RETURN(size_t written, WriteOnce(request, inode, fd, *data, offset, *info));
  // A short write may have found no room that removed objects are about to free.
  const auto deadline = std::chrono::steady_clock::now() + kFreedSpaceTimeout;
  while (written < size && !file.append_only() && inodes_->FinishRemovals(deadline)) {
    const Result<size_t> again = WriteOnce(request, inode, fd, *data, offset, *info);
    written = std::max(written, again.value_or(0));
  }
  if (info->writepage == 0) RETURN_IF_ERROR(SyncIfAsked(file));
  request.ReplyWritten(written);
  return {};
}

Result<size_t> FileSystem::WriteOnce(Request& request, const Inode& inode, int fd,
                                     fuse_bufvec& data, off_t offset, const fuse_file_info& info) {
  const size_t size = fuse_buf_size(&data);
  data.idx = data.off = 0;  // a retry begins at the start
  const ByteRange range = RangeOf(offset, size);
  ASSIGN_OR_RETURN(
      const ssize_t written,
      ChangeContent(
          request, {inode, fd, range}, [&] { return ClearsSetid(request, info); },
          [&] { return WriteInPieces(fd, data, offset, size); }, [&](ssize_t) { return range; }));
  if (info.writepage != 0) writebacks_.Note(inodes_->NodeOf(inode));
  if (written < 0) return ErrnoError(static_cast<int>(-written), "write");
  return static_cast<size_t>(written);
}

Status FileSystem::Allocate(Request& request, fuse_ino_t node, int mode, off_t offset, off_t length,
                            fuse_file_info* info) {
  const Inode& inode = inodes_->Get(node);
  // These two move all content behind the range.
  const bool shifts = (mode & (FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE)) != 0;
  const ByteRange range = shifts ? ByteRange::From(static_cast<uint64_t>(offset))
                                 : RangeOf(offset, static_cast<uint64_t>(length));
  const OpenFile& file = files_.Get(info->fh);
  const bool is_long = !shifts && range.length() >= kLongRange;
  ASSIGN_OR_RETURN(const int code,
                   ChangeContent(
                       request, {inode, file.fd(), range, is_long, !shifts},
                       [&] { return ClearsSetid(request); },
                       [&] { return ErrnoOf(fallocate(file.fd(), mode, offset, length)); },
                       [&](int) { return range; }));
  if (code != 0) return ErrnoError(code, "fallocate");
  RETURN_IF_ERROR(SyncIfAsked(file));
  request.Succeed();
  return {};
}

Status FileSystem::CopyRange(Request& request, fuse_ino_t /*from*/, off_t from_offset,
                             fuse_file_info* from_info, fuse_ino_t to, off_t to_offset,
                             fuse_file_info* to_info, size_t length, int flags) {
  length = std::min(length, kMaxCopy);
  const Inode& inode = inodes_->Get(to);
  const ByteRange range = RangeOf(to_offset, length);
  const OpenFile& file = files_.Get(to_info->fh);
  off_t to_position = to_offset;
  // Returns a negative errno.
  const auto copy = [&]() -> ssize_t {
    const ssize_t copied = copy_file_range(files_.Get(from_info->fh).fd(), &from_offset, file.fd(),
                                           &to_position, length, static_cast<unsigned>(flags));
    return copied < 0 ? -errno : copied;
  };
  ASSIGN_OR_RETURN(const ssize_t copied,
                   ChangeContent(
                       request, {inode, file.fd(), range, length >= kLongRange},
                       [&] { return ClearsSetid(request); }, copy,
                       [&](ssize_t bytes) {
                         return bytes < 0 ? range
                                          : RangeOf(to_offset, static_cast<uint64_t>(bytes));
                       }));
  if (copied < 0) return ErrnoError(static_cast<int>(-copied), "copy_file_range");
  RETURN_IF_ERROR(SyncIfAsked(file));
  request.ReplyWritten(static_cast<size_t>(copied));
  return {};
}

Status FileSystem::Seek(Request& request, fuse_ino_t /*node*/, off_t offset, int whence,
                        fuse_file_info* info) {
  const off_t found = lseek(files_.Get(info->fh).fd(), offset, whence);
  if (found < 0) return ErrnoError("lseek");
  request.ReplyOffset(found);
  return {};
}

}  // namespace tandem::fs
