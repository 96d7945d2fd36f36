#include "tests/programs/lib/workload_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace tandem::workload {
namespace {

constexpr off_t kPage = 4096;

}  // namespace

programs::Fd OpenFile(Actor& actor, const Path& path, int flags, mode_t mode) {
  // ENXIO, ENODEV and EBUSY come from FIFOs, sockets and devices.
  programs::Fd fd(open(path.bytes.c_str(), flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, mode));
  if (!actor.Try("open", fd.get(), {ENXIO, ENODEV, EBUSY})) return {};

  struct stat found;
  if (!actor.Try("fstat", fstat(fd.get(), &found))) return {};
  if (S_ISREG(found.st_mode)) return fd;
  actor.Fail("open:not-a-file", EINVAL);
  return {};
}

off_t FileSize(Actor& actor, int fd) {
  struct stat found;
  return actor.Try("fstat", fstat(fd, &found)) ? found.st_size : 0;
}

size_t RandomLength(Actor& actor) {
  constexpr size_t kMaxLength = 256 << 10;
  if (actor.random().OneIn(4)) {
    return actor.random().Between(1, 16) * kPage;
  }
  return actor.random().Magnitude(kMaxLength);
}

Extent RandomExtent(Actor& actor, int fd) {
  const auto limit = static_cast<off_t>(actor.config().max_file_bytes);
  const size_t length = std::min(RandomLength(actor), static_cast<size_t>(limit));
  const off_t size = FileSize(actor, fd);
  const off_t reach = std::min(size + 2 * kPage, limit - off_t(length));
  return {static_cast<off_t>(actor.random().Between(0, std::max(reach, off_t{0}))), length};
}

Extent AlignedExtent(Actor& actor, int fd) {
  Extent extent = RandomExtent(actor, fd);
  extent.offset -= extent.offset % kPage;
  extent.length = std::max(extent.length - extent.length % kPage, size_t{kPage});
  return extent;
}

bool WriteExtent(Actor& actor, int fd, Extent extent) {
  const auto data = actor.Data(extent.length);
  return actor.TryTransfer("pwrite", pwrite(fd, data.data(), data.size(), extent.offset),
                           data.size());
}

bool MakeRoom(Actor& actor, int fd, size_t growth) {
  const off_t size = FileSize(actor, fd);
  if (size + growth <= actor.config().max_file_bytes) return true;
  return actor.Try("ftruncate", ftruncate(fd, size / 8));
}

void MaybeSync(Actor& actor, int fd) {
  switch (actor.random().Below(24)) {
    case 0:
      actor.Try("fsync", fsync(fd));
      break;
    case 1:
      actor.Try("fdatasync", fdatasync(fd));
      break;
    case 2:
      actor.Try("sync_file_range", sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE));
      break;
    case 3:
      if (actor.random().OneIn(8)) actor.Try("syncfs", syncfs(fd));
      break;
    default:
      break;
  }
}

}  // namespace tandem::workload
