// The capabilities agreed with the kernel when the session begins. Every capability that
// libfuse 3.14 to 3.18 knows is either set here or listed with the reason why it is not:
//
//   ATOMIC_O_TRUNC      The kernel sends a setattr instead: one place truncates.
//   AUTO_INVAL_DATA     Would drop the page cache after our own writes, because their mtime is new
//   to
//                       the kernel. EXPLICIT_INVAL_DATA is set instead: all changes come through
//                       us.
//   EXPORT_SUPPORT      "." and ".." cannot be looked up.
//   FLOCK_LOCKS, POSIX_LOCKS  The kernel keeps locks.
//   HANDLE_KILLPRIV     Would require us to clear setuid and setgid bits for every writer; a writer
//                       with CAP_FSETID keeps them. Off, the kernel decides and sends a setattr.
//   PASSTHROUGH         Writes must not bypass capture.
//   SPLICE_READ         A pipe (at most 1 MiB) cannot hold our largest request: libfuse would
//   create,
//                       try and drop one for every request. (Replies are spliced: SPLICE_WRITE.)
//   OVER_IO_URING       libfuse would start rings of its own: serving/transport.h agrees on it.
//   SETXATTR_EXT, SECURITY_CTX, ALLOW_IDMAP  Not handled.
#include "fs/caller/privileges.h"
#include "fs/file_system.h"

namespace tandem::fs {
namespace {

#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
void Set(fuse_conn_info* connection, uint64_t capability, bool wanted) {
  if (wanted) {
    fuse_set_feature_flag(connection, capability);  // if the kernel has it
  } else {
    fuse_unset_feature_flag(connection, capability);
  }
}
#else
void Set(fuse_conn_info* connection, unsigned capability, bool wanted) {
  if (wanted) {
    connection->want |= capability & connection->capable;
  } else {
    connection->want &= ~capability;
  }
}
#endif

}  // namespace

void FileSystem::Initialise(void* user_data, fuse_conn_info* connection) {
  auto& self = *static_cast<FileSystem*>(user_data);
  Set(connection, FUSE_CAP_ATOMIC_O_TRUNC, false);
  Set(connection, FUSE_CAP_AUTO_INVAL_DATA, false);
  Set(connection, FUSE_CAP_FLOCK_LOCKS, false);
  Set(connection, FUSE_CAP_POSIX_LOCKS, false);
  Set(connection, FUSE_CAP_HANDLE_KILLPRIV, false);
  Set(connection, FUSE_CAP_SPLICE_READ, false);
#if defined(FUSE_CAP_OVER_IO_URING)
  Set(connection, FUSE_CAP_OVER_IO_URING, false);
#endif

  Set(connection, FUSE_CAP_ASYNC_DIO, true);
  Set(connection, FUSE_CAP_ASYNC_READ, true);
  Set(connection, FUSE_CAP_CACHE_SYMLINKS, true);
  // The umask is applied beneath, because a default ACL overrides it.
  Set(connection, FUSE_CAP_DONT_MASK, true);
  Set(connection, FUSE_CAP_EXPLICIT_INVAL_DATA, true);
  Set(connection, FUSE_CAP_IOCTL_DIR, true);
  Set(connection, FUSE_CAP_PARALLEL_DIROPS, true);
  Set(connection, FUSE_CAP_POSIX_ACL, self.backing_.has_acls);
  Set(connection, FUSE_CAP_READDIRPLUS, true);
  Set(connection, FUSE_CAP_READDIRPLUS_AUTO, true);
  Set(connection, FUSE_CAP_SPLICE_MOVE, true);
  Set(connection, FUSE_CAP_SPLICE_WRITE, true);
  Set(connection, FUSE_CAP_WRITEBACK_CACHE, self.settings_.writeback);
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
  Set(connection, FUSE_CAP_DIRECT_IO_ALLOW_MMAP, true);
  // The kernel then asks for security.capability before the first write to a file instead of before
  // every write, and says in each request whether setuid and setgid bits are cleared.
  Set(connection, FUSE_CAP_HANDLE_KILLPRIV_V2, kHasKillprivV2);
  // No handler can be interrupted.
  connection->no_interrupt = 1;
#endif
  self.may_skip_opendir_ =
      (connection->capable & FUSE_CAP_NO_OPENDIR_SUPPORT) != 0 && self.backing_.has_stable_offsets;
  connection->max_write = kMaxWrite;
  connection->max_read = self.settings_.max_read;
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 18)
  constexpr unsigned kKnowsEpochs = 44;
  if (connection->proto_minor >= kKnowsEpochs) self.directory_seconds_ = kCacheSeconds;
#endif
}

}  // namespace tandem::fs
