#include "replica/apply/file_data.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "meta/base/write_piece.h"
#include "replica/apply/tuning.h"

namespace tandem::replica {

Status WriteFully(int fd, std::string_view bytes, uint64_t offset) {
  while (!bytes.empty()) {
    const size_t piece = std::min(bytes.size(), kWritePiece);
    const ssize_t written = pwrite(fd, bytes.data(), piece, static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return ErrnoError("write data");
    bytes.remove_prefix(static_cast<size_t>(written));
    offset += static_cast<uint64_t>(written);
  }
  return {};
}

namespace {

// What direct I/O asks for on every disk, of the offset, the length and the memory; and whole
// pages, because others may be in the page cache.
size_t DirectAlignment() {
  static const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return std::max<size_t>(page, 4096);
}

// btrfs compresses only what goes through the page cache.
bool SuitsDirectWrites(int fd) {
  struct statfs filesystem = {};
  return fstatfs(fd, &filesystem) == 0 && filesystem.f_type != BTRFS_SUPER_MAGIC;
}

struct Free {
  void operator()(char* memory) const { free(memory); }
};

// Returns how many bytes were written: whole blocks from the start, or none.
size_t WriteDirectly(int fd, std::string_view bytes, uint64_t offset) {
  const size_t alignment = DirectAlignment();
  if (offset % alignment != 0 || !SuitsDirectWrites(fd)) return 0;
  if (fcntl(fd, F_SETFL, O_DIRECT) != 0) return 0;
  // Kept, because the kernel would have to find and clear the memory each time.
  thread_local const std::unique_ptr<char, Free> buffer(
      static_cast<char*>(aligned_alloc(alignment, kDirectAtATime)));
  size_t done = 0;
  const size_t whole = bytes.size() / alignment * alignment;
  while (buffer != nullptr && done < whole) {
    const size_t count = std::min(whole - done, kDirectAtATime);
    bytes.copy(buffer.get(), count, done);
    const ssize_t written = pwrite(fd, buffer.get(), count, static_cast<off_t>(offset + done));
    if (written <= 0) break;
    done += static_cast<size_t>(written);
    if (done % alignment != 0) break;
  }
  (void)fcntl(fd, F_SETFL, 0);
  return done;
}

}  // namespace

Status WritePastCache(int fd, std::string_view bytes, uint64_t offset) {
  const size_t done = WriteDirectly(fd, bytes, offset);
  // Also what failed: the error is that of an ordinary write, if there is one.
  return WriteFully(fd, bytes.substr(done), offset + done);
}

Result<std::string> ReadUpTo(int fd, uint64_t offset, uint64_t length) {
  std::string bytes(length, '\0');
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t got =
        pread(fd, bytes.data() + done, bytes.size() - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoError("read data");
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  bytes.resize(done);
  return bytes;
}

namespace {

Status CopyData(int from, int to, uint64_t offset, uint64_t end) {
  while (offset < end) {
    auto in = static_cast<off_t>(offset);
    off_t out = in;
    const ssize_t copied = copy_file_range(from, &in, to, &out, end - offset, 0);
    if (copied < 0 && errno == EINTR) continue;
    if (copied < 0 && errno != EXDEV && errno != EINVAL && errno != EOPNOTSUPP) {
      return ErrnoError("copy data");
    }
    if (copied == 0) return {};
    if (copied < 0) {
      ASSIGN_OR_RETURN(const std::string bytes,
                       ReadUpTo(from, offset, std::min(kCopyAtATime, end - offset)));
      if (bytes.empty()) return {};
      RETURN_IF_ERROR(WriteFully(to, bytes, offset));
      offset += bytes.size();
    } else {
      offset += static_cast<uint64_t>(copied);
    }
  }
  return {};
}

}  // namespace

Status CopyRange(int from, int to, uint64_t offset, uint64_t length) {
  const uint64_t end = offset + length;
  while (offset < end) {
    const off_t data = lseek(from, static_cast<off_t>(offset), SEEK_DATA);
    if (data < 0 && errno != ENXIO) return ErrnoError("find data to copy");
    const uint64_t start = data < 0 ? end : std::min(end, static_cast<uint64_t>(data));
    if (start > offset) RETURN_IF_ERROR(PunchHole(to, offset, start - offset));
    if (start == end) return {};
    const off_t hole = lseek(from, static_cast<off_t>(start), SEEK_HOLE);
    if (hole < 0) return ErrnoError("find the end of data to copy");
    const uint64_t stop = std::min(end, static_cast<uint64_t>(hole));
    RETURN_IF_ERROR(CopyData(from, to, start, stop));
    offset = stop;
  }
  return {};
}

Status PunchHole(int fd, uint64_t offset, uint64_t length) {
  struct stat stat_buffer;
  if (fstat(fd, &stat_buffer) != 0) return ErrnoError("stat");
  const auto size = static_cast<uint64_t>(stat_buffer.st_size);
  // There is nothing beyond the end. The file gets its size when it is complete.
  if (offset >= size) return {};
  length = std::min(length, size - offset);
  if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                static_cast<off_t>(length)) == 0) {
    return {};
  }
  if (errno != EOPNOTSUPP && errno != ENOSYS) return ErrnoError("punch hole");
  const std::string zeros(std::min<uint64_t>(length, 1 << 20), '\0');
  for (uint64_t done = 0; done < length;) {
    const uint64_t now = std::min<uint64_t>(zeros.size(), length - done);
    RETURN_IF_ERROR(WriteFully(fd, std::string_view(zeros).substr(0, now), offset + done));
    done += now;
  }
  return {};
}

}  // namespace tandem::replica
