// A file that an application has open. Any thread may use it between AttachTo and release: it does
// not change any more.
#pragma once

#include <fcntl.h>

#include <memory>
#include <optional>

#include "fs/objects/inode_table.h"
#include "fs/serving/fuse_api.h"
#include "meta/base/result.h"
#include "meta/base/unique_fd.h"

namespace tandem::fs {

class OpenFile {
 public:
  // Returns the flags to open the backing file with when an application opens with `flags`:
  //   O_APPEND is dropped: the kernel sends offsets, and pwrite would ignore them and append. Only
  //   a file that cannot be opened otherwise (chattr +a) keeps it: Backing::kAppendOnly. O_SYNC and
  //   O_DSYNC are dropped: the sync is done after the gate is left (SyncIfAsked). O_TRUNC is
  //   dropped: the kernel sends a setattr. O_WRONLY becomes O_RDWR if the kernel caches writes: it
  //   reads to fill pages.
  // Creation flags are the caller's to add.
  static int BackingFlags(int flags, bool writeback);

  // What the backing file allows. The kernel must not cache writes through the last two: it would
  // write whole pages back later, which can neither be appended nor filled by a read.
  enum class Backing {
    kUsual,
    kAppendOnly,  // opened with O_APPEND: a write ignores its offset
    kWriteOnly,   // may not be read
  };

  // Takes ownership of `fd`, opened with BackingFlags(flags), and with O_APPEND if append-only.
  static Result<std::unique_ptr<OpenFile>> Adopt(UniqueFd fd, int flags,
                                                 Backing backing = Backing::kUsual);

  int fd() const { return fd_.get(); }
  bool append_only() const { return backing_ == Backing::kAppendOnly; }
  // Whether the application opened it with O_SYNC or O_DSYNC.
  bool syncs() const { return (flags_ & O_DSYNC) != 0; }  // O_SYNC contains O_DSYNC
  // Syncs the file if so. Called after a write.
  Status SyncIfAsked() const;

  // Sets which object this is. Called once, before the file is added to the open files.
  void AttachTo(const Inode& inode);

  // Returns the object if the file is open for writing, otherwise null.
  const Inode* writable_inode() const { return writer_ ? &writer_->inode() : nullptr; }

  // Sets in `info` how the kernel is to treat the file; not `fh`. `close_cannot_fail`: close(2)
  // reports no errors on its filesystem, whatever was written.
  void FillFileInfo(fuse_file_info& info, bool close_cannot_fail) const;

 private:
  OpenFile(UniqueFd fd, int flags, Backing backing)
      : fd_(std::move(fd)), flags_(flags), backing_(backing) {}

  const UniqueFd fd_;
  const int flags_;  // as the application gave them
  const Backing backing_;
  std::optional<ScopedWriter> writer_;
};

}  // namespace tandem::fs
