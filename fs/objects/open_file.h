// A file an application has open. Immutable once opened: any thread may use it between open and
// release.
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
  // What to open the backing file with when an application opens with `flags`, creation flags
  // aside:
  //   O_APPEND goes: the kernel sends offsets, and pwrite would append regardless of them. Only a
  //   file that may be opened in no other way (chattr +a) keeps it: Backing::kAppendOnly.
  //   O_SYNC and O_DSYNC go: the sync belongs after the gate (SyncIfAsked).
  //   O_TRUNC goes: the kernel sends a truncation of its own.
  //   O_WRONLY becomes O_RDWR if the kernel caches writes, for it reads to fill pages.
  static int BackingFlags(int flags, bool writeback);

  // What the backing file allows. The kernel caches nothing that is written through the last two:
  // whole pages would come, later, which could neither be appended nor filled.
  enum class Backing {
    kUsual,
    kAppendOnly,  // every write appends, whatever its offset
    kWriteOnly,   // may be written, but not read
  };

  // Takes over a descriptor opened with BackingFlags(flags), and O_APPEND if append-only.
  static Result<std::unique_ptr<OpenFile>> Adopt(UniqueFd fd, int flags,
                                                 Backing backing = Backing::kUsual);

  int fd() const { return fd_.get(); }
  bool append_only() const { return backing_ == Backing::kAppendOnly; }
  // Makes durable what a write through an O_SYNC or O_DSYNC descriptor wrote.
  Status SyncIfAsked() const;

  // Which object this is, before it is added to the open files.
  void BelongsTo(const Inode& inode);

  // The object, if the file is open for writing; otherwise null.
  const Inode* written() const { return writes_ ? &writes_->inode() : nullptr; }

  // Tells the kernel how to treat the file. `closes_silently`: closing it has no error to report,
  // whatever was done to it. `fh` is the caller's to set.
  void Describe(fuse_file_info& info, bool closes_silently) const;

 private:
  OpenFile(UniqueFd fd, int flags, Backing backing)
      : fd_(std::move(fd)), flags_(flags), backing_(backing) {}

  const UniqueFd fd_;
  const int flags_;  // as the application gave them
  const Backing backing_;
  std::optional<OpenToWrite> writes_;
};

}  // namespace tandem::fs
