// Operations that write bytes into files.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "tests/programs/lib/bus_guard.h"
#include "tests/programs/lib/workload_file.h"
#include "tests/programs/lib/workload_ops.h"
#include "tests/programs/lib/workload_pick.h"

namespace tandem::workload {
namespace {

// Creates with any combination of flags, and mostly writes something.
void Create(Actor& actor) {
  const Path path = PickFileName(actor);
  const int optional[] = {O_TRUNC, O_APPEND, O_EXCL, O_SYNC, O_DSYNC};
  int flags = O_CREAT | actor.random().Choose({O_WRONLY, O_RDWR});
  for (int flag : optional) {
    if (actor.random().OneIn(4)) flags |= flag;
  }
  const mode_t mode = actor.random().Choose({0644, 0600, 0755, 0666, 0400});
  actor.Note(path, "flags", flags, "mode", mode);

  programs::Fd fd = OpenFile(actor, path, flags, mode);
  if (!fd.ok()) return;
  const size_t length = RandomLength(actor);
  if (!actor.random().OneIn(4) && MakeRoom(actor, fd.get(), length)) {
    const auto data = actor.Data(length);
    actor.TryTransfer("write", write(fd.get(), data.data(), data.size()), data.size());
  }
  actor.Try("close", fd.Close());
}

// A file without a name gets one, before or after it has been written.
void CreateUnnamed(Actor& actor) {
  const Path directory = PickDirectory(actor);
  const Path target = PickFileName(actor);
  const bool link_first = actor.random().OneIn(2);
  actor.Note(directory, "as", target);

  programs::Fd fd(open(directory.bytes.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0640));
  if (!actor.Try("open", fd.get())) return;
  const std::string self = "/proc/self/fd/" + std::to_string(fd.get());
  for (bool link_now : {link_first, !link_first}) {
    if (link_now) {
      actor.Try("linkat",
                linkat(AT_FDCWD, self.c_str(), AT_FDCWD, target.bytes.c_str(), AT_SYMLINK_FOLLOW));
    } else {
      WriteExtent(actor, fd.get(), RandomExtent(actor, fd.get()));
    }
  }
  actor.Try("close", fd.Close());
}

void Pwrite(Actor& actor) {
  const Path path = PickFile(actor);
  actor.Note(path);
  WithFile(actor, path, O_WRONLY, [&](int fd) {
    const Extent extent = RandomExtent(actor, fd);
    actor.Note(extent.Text());
    WriteExtent(actor, fd, extent);
    MaybeSync(actor, fd);
  });
}

void WriteSequentially(Actor& actor) {
  const Path path = PickFile(actor);
  actor.Note(path);
  WithFile(actor, path, O_WRONLY | O_CREAT, [&](int fd) {
    const Extent start = RandomExtent(actor, fd);
    const size_t step = actor.random().Choose({512, 1000, 4096, 65536});
    const uint64_t steps = actor.random().Between(2, 16);
    actor.Note(start.offset, "step", step, "times", steps);
    if (start.offset + step * steps > actor.config().max_file_bytes) return;
    if (!actor.Try("lseek", lseek(fd, start.offset, SEEK_SET))) return;
    for (uint64_t i = 0; i < steps; ++i) {
      const auto data = actor.Data(step);
      if (!actor.TryTransfer("write", write(fd, data.data(), step), step)) {
        return;
      }
    }
    MaybeSync(actor, fd);
  });
}

void Writev(Actor& actor) {
  const Path path = PickFile(actor);
  actor.Note(path);
  WithFile(actor, path, O_WRONLY, [&](int fd) {
    const Extent extent = RandomExtent(actor, fd);
    actor.Note(extent.Text());
    const auto data = actor.Data(extent.length);
    const size_t first = actor.random().Below(data.size());
    const size_t second = actor.random().Below(data.size() - first);
    const std::array<iovec, 3> parts = {
        iovec{data.data(), first}, iovec{data.data() + first, second},
        iovec{data.data() + first + second, data.size() - first - second}};
    actor.TryTransfer("pwritev", pwritev(fd, parts.data(), parts.size(), extent.offset),
                      data.size());
  });
}

void Append(Actor& actor) {
  const Path path = PickFile(actor);
  const size_t length = RandomLength(actor);
  actor.Note(path, length);
  WithFile(actor, path, O_WRONLY | O_APPEND | O_CREAT, [&](int fd) {
    if (!MakeRoom(actor, fd, length)) return;
    const auto data = actor.Data(length);
    actor.TryTransfer("write", write(fd, data.data(), length), length);
  });
}

// Far beyond the end, so that the file becomes sparse.
void WriteFar(Actor& actor) {
  const Path path = PickFile(actor);
  const size_t length = RandomLength(actor);
  const auto limit = static_cast<off_t>(actor.config().max_file_bytes);
  const off_t last = std::max(limit - static_cast<off_t>(length), off_t{1});
  const auto offset = static_cast<off_t>(actor.random().Magnitude(last));
  actor.Note(path, offset, length);
  WithFile(actor, path, O_WRONLY | O_CREAT, [&](int fd) {
    WriteExtent(actor, fd, {offset, length});
  });
}

// Only to files that no other worker uses: where direct and buffered writes
// collide, Linux itself reports EIO ("Page cache invalidation failure").
void WriteDirect(Actor& actor) {
  const Path path = PickOwnDirectory(actor) / "direct";
  actor.Note(path);
  WithFile(actor, path, O_RDWR | O_CREAT | O_DIRECT, [&](int fd) {
    Extent extent = AlignedExtent(actor, fd);
    if (actor.random().OneIn(16)) extent.offset += 1;  // EINVAL, or not.
    actor.Note(extent.Text());
    WriteExtent(actor, fd, extent);
    if (actor.random().OneIn(8)) actor.Try("ftruncate", ftruncate(fd, extent.offset));
  });
  if (!actor.random().OneIn(3)) return;
  actor.Note("then buffered");
  WithFile(actor, path, O_RDWR, [&](int fd) {
    WriteExtent(actor, fd, RandomExtent(actor, fd));
    MaybeSync(actor, fd);
  });
}

// Overlapping ranges of one file give EINVAL.
void CopyRange(Actor& actor) {
  const Path from = PickFile(actor);
  const Path to = actor.random().OneIn(4) ? from : PickFile(actor);
  actor.Note(from, "to", to);
  WithFile(actor, from, O_RDONLY, [&](int in) {
    WithFile(actor, to, O_WRONLY | O_CREAT, [&](int out) {
      const Extent source = RandomExtent(actor, in);
      const Extent target = RandomExtent(actor, out);
      const auto limit = static_cast<off_t>(actor.config().max_file_bytes);
      const size_t length = std::min<off_t>(source.length, limit - target.offset);
      off_t read_at = source.offset;
      off_t write_at = target.offset;
      actor.Note(read_at, "at", write_at, "length", length);
      actor.Try("copy_file_range", copy_file_range(in, &read_at, out, &write_at, length, 0));
    });
  });
}

// True also if the mapping lost its page because another worker truncated the
// file; a store that fails although the page is there is an I/O error.
bool StoreThroughMapping(Actor& actor, int fd, char* map, Extent window) {
  // The file may shrink, then grow again; and fstat may tell of a write's new size while the write,
  // in another thread, has yet to tell the page fault.
  constexpr int kAttempts = 1000;
  constexpr useconds_t kPause = 1000;
  const size_t at = actor.random().Below(window.length);
  const auto data = actor.Data(actor.random().Between(1, window.length - at));
  for (int i = 0; i < kAttempts; ++i) {
    if (programs::CopyGuarded(map + at, data.data(), data.size())) return true;
    const off_t end = window.offset + static_cast<off_t>(window.length);
    if (FileSize(actor, fd) < end) return true;
    usleep(kPause);
  }
  actor.Fail("store", actor.config().tolerate_no_space ? ENOSPC : EIO);
  return false;
}

// Stores through a shared mapping, brought home by msync, or only by munmap.
void MmapStore(Actor& actor) {
  const Path path = PickFile(actor);
  actor.Note(path);
  WithFile(actor, path, O_RDWR, [&](int fd) {
    const Extent window = AlignedExtent(actor, fd);
    const uint64_t stores = actor.random().Between(1, 8);
    const int sync = actor.random().Choose({0, 0, MS_SYNC, MS_ASYNC});
    actor.Note(window.Text(), "stores", stores, "msync", sync);
    const off_t end = window.offset + static_cast<off_t>(window.length);
    if (FileSize(actor, fd) < end && !actor.Try("ftruncate", ftruncate(fd, end))) {
      return;
    }
    void* map = mmap(nullptr, window.length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, window.offset);
    if (map == MAP_FAILED) return actor.Fail("mmap", errno, {ENODEV});
    for (uint64_t i = 0; i < stores; ++i) {
      if (!StoreThroughMapping(actor, fd, static_cast<char*>(map), window)) {
        break;
      }
    }
    if (sync) actor.Try("msync", msync(map, window.length, sync));
    actor.Try("munmap", munmap(map, window.length));
  });
}

// Goes on writing to a file whose name is gone.
void UnlinkOpen(Actor& actor) {
  const Path path = PickFile(actor);
  actor.Note(path);
  WithFile(actor, path, O_RDWR, [&](int fd) {
    WriteExtent(actor, fd, RandomExtent(actor, fd));
    actor.Try("unlink", unlink(path.bytes.c_str()));
    WriteExtent(actor, fd, RandomExtent(actor, fd));
    actor.Try("ftruncate", ftruncate(fd, FileSize(actor, fd) / 2));
    actor.Try("fchmod", fchmod(fd, 0600));
    MaybeSync(actor, fd);
  });
}

// Goes on writing to a file which moves away.
void RenameOpen(Actor& actor) {
  const Path from = PickFile(actor);
  const Path to = PickFileName(actor);
  actor.Note(from, "to", to);
  WithFile(actor, from, O_RDWR, [&](int fd) {
    WriteExtent(actor, fd, RandomExtent(actor, fd));
    actor.Try("rename", rename(from.bytes.c_str(), to.bytes.c_str()));
    WriteExtent(actor, fd, RandomExtent(actor, fd));
    MaybeSync(actor, fd);
  });
}

// Uses a descriptor opened many operations ago, whatever has happened to the
// file's names since.
void UseHeldFile(Actor& actor) {
  Actor::HeldFile& held = actor.RandomHeldFile();
  if (!held.fd.ok()) {
    held.opened_as = PickFile(actor);
    actor.Note("open", held.opened_as);
    held.fd = OpenFile(actor, held.opened_as, O_RDWR);
    return;
  }
  actor.Note(held.opened_as);
  const int fd = held.fd.get();
  switch (actor.random().Below(8)) {
    case 0:
      actor.Note("close");
      actor.Try("close", held.fd.Close());
      break;
    case 1:
      actor.Note("truncate");
      actor.Try("ftruncate", ftruncate(fd, RandomExtent(actor, fd).offset));
      break;
    case 2:
      actor.Note("sync");
      actor.Try("fsync", fsync(fd));
      break;
    default: {
      const Extent extent = RandomExtent(actor, fd);
      actor.Note(extent.Text());
      WriteExtent(actor, fd, extent);
    }
  }
}

constexpr Op kContentOps[] = {
    {"create", 60, Create},         {"create_unnamed", 8, CreateUnnamed},
    {"pwrite", 60, Pwrite},         {"write_sequential", 20, WriteSequentially},
    {"writev", 15, Writev},         {"append", 30, Append},
    {"write_far", 8, WriteFar},     {"write_direct", 12, WriteDirect},
    {"copy_range", 12, CopyRange},  {"mmap_store", 25, MmapStore},
    {"unlink_open", 8, UnlinkOpen}, {"rename_open", 8, RenameOpen},
    {"held_file", 40, UseHeldFile},
};

}  // namespace

std::span<const Op> ContentOps() { return kContentOps; }

}  // namespace tandem::workload
