#include "fs/objects/open_directory.h"

#include <unistd.h>

#include "fs/objects/tuning.h"

namespace tandem::fs {

Status OpenDirectory::Visit(off_t offset, const std::function<bool(const dirent64&)>& visit) {
  at_end_ = false;
  RETURN_IF_ERROR(SeekTo(offset));
  for (bool first = true;; first = false) {
    const Result<const dirent64*> entry = Peek();
    if (!entry) {
      if (first) return tl::unexpected<Error>(entry.error());
      return {};
    }
    at_end_ = *entry == nullptr;
    if (at_end_ || !visit(**entry)) return {};
    position_ = (*entry)->d_off;
    begin_ += (*entry)->d_reclen;
  }
}

Status OpenDirectory::SeekTo(off_t offset) {
  // Offset 0 is a rewind: the directory is read anew.
  if (offset == position_ && offset != 0) return {};
  begin_ = end_ = 0;
  if (lseek(fd(), offset, SEEK_SET) < 0) return ErrnoError("seek in directory");
  position_ = offset;
  return {};
}

Result<const dirent64*> OpenDirectory::Peek() {
  if (begin_ == end_) {
    if (!buffer_) buffer_ = std::make_unique_for_overwrite<char[]>(kListingBuffer);
    const ssize_t length = getdents64(fd(), buffer_.get(), kListingBuffer);
    if (length < 0) return ErrnoError("read directory");
    begin_ = 0;
    end_ = static_cast<size_t>(length);
    if (length == 0) return nullptr;
  }
  return reinterpret_cast<const dirent64*>(buffer_.get() + begin_);
}

}  // namespace tandem::fs
