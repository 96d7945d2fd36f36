// Operations that create, link, move and remove names.
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/limits.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>

#include "tests/programs/lib/workload_ops.h"
#include "tests/programs/lib/workload_pick.h"
#include "tests/programs/lib/workload_tree.h"

namespace tandem::workload {
namespace {

void Mkdir(Actor& actor) {
  const Path path = PickDirectoryName(actor);
  const mode_t mode = actor.random().Choose({0755, 0700, 0777, 01777, 02755});
  actor.Note(path, "mode", mode);
  actor.Try("mkdir", mkdir(path.bytes.c_str(), mode));
}

void Rmdir(Actor& actor) {
  const Path path = PickSubdirectory(actor);
  actor.Note(path);
  actor.Try("rmdir", rmdir(path.bytes.c_str()));
}

// Targets never lead out of the workload's directory: at most one "..", from
// links that are always in an area or below, or a path that does not exist.
std::string SymlinkTarget(Actor& actor) {
  programs::Random& random = actor.random();
  switch (random.Below(6)) {
    case 0:
      return actor.names().File(&random);
    case 1:
      return actor.names().Directory(&random);
    case 2:
      return "../" + actor.names().File(&random);
    case 3:
      return "/nonexistent/" + actor.names().File(&random);
    case 4: {
      std::string filler(random.Between(50, 4000), 'x');
      for (size_t i = 100; i < filler.size(); i += 101) filler[i] = '/';
      return "nowhere/" + filler;
    }
    default:
      return "dangling-\xff\xfe\n\\" + std::to_string(random.Next());
  }
}

void Symlink(Actor& actor) {
  const Path path = actor.random().OneIn(6) ? PickDirectoryName(actor) : PickFileName(actor);
  const std::string target = SymlinkTarget(actor);
  actor.Note(path, "to", programs::Escape(target));
  actor.Try("symlink", symlink(target.c_str(), path.bytes.c_str()));
}

// Also to symlinks, FIFOs and devices; to directories it must fail.
void Link(Actor& actor) {
  const Path from = PickEntry(actor);
  const Path to = PickFileName(actor);
  actor.Note(from, "as", to);
  actor.Try("link", link(from.bytes.c_str(), to.bytes.c_str()));
}

void Unlink(Actor& actor) {
  const Path path = PickEntry(actor);
  actor.Note(path);
  actor.Try("unlink", unlink(path.bytes.c_str()));
}

void MakeFifo(Actor& actor) {
  const Path path = PickFileName(actor);
  actor.Note(path);
  actor.Try("mkfifo", mkfifo(path.bytes.c_str(), 0640));
}

// By mknod, or, where the name is short enough, by binding.
void MakeSocket(Actor& actor) {
  const Path path = PickFileName(actor);
  actor.Note(path);
  sockaddr_un address = {};
  if (actor.random().OneIn(2) || path.bytes.size() >= sizeof address.sun_path) {
    actor.Try("mknod", mknod(path.bytes.c_str(), S_IFSOCK | 0755, 0));
    return;
  }
  address.sun_family = AF_UNIX;
  path.bytes.copy(address.sun_path, sizeof address.sun_path - 1);
  const programs::Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!actor.Try("socket", fd.get())) return;
  actor.Try("bind", bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address),
            {EADDRINUSE});
}

// Only numbers that no driver uses (120 is for local use), because another
// operation may open the device for writing.
void MakeDevice(Actor& actor) {
  constexpr unsigned kLocalMajor = 120;
  constexpr unsigned kMaxMinor = (1 << 20) - 1;
  const Path path = PickFileName(actor);
  const mode_t kind = actor.random().Choose({S_IFCHR, S_IFBLK});
  const dev_t device = makedev(kLocalMajor, actor.random().Magnitude(kMaxMinor));
  actor.Note(path, "kind", kind, "rdev", device);
  actor.Try("mknod", mknod(path.bytes.c_str(), kind | 0600, device));
}

Path RenameTarget(Actor& actor, const Path& source) {
  const auto found = Look(actor, source);
  const bool directory = found && S_ISDIR(found->st_mode);
  // Now and then the wrong kind, which mostly fails.
  return directory != actor.random().OneIn(16) ? PickDirectoryName(actor) : PickFileName(actor);
}

void Rename(Actor& actor) {
  const Path from = PickEntry(actor);
  const Path to = RenameTarget(actor, from);
  actor.Note(from, "to", to);
  actor.Try("rename", rename(from.bytes.c_str(), to.bytes.c_str()));
}

template <unsigned kFlags>
void RenameFlagged(Actor& actor) {
  const Path from = PickEntry(actor);
  const Path to = kFlags & RENAME_EXCHANGE ? PickEntry(actor) : RenameTarget(actor, from);
  actor.Note(from, "to", to);
  actor.Try("renameat2",
            renameat2(AT_FDCWD, from.bytes.c_str(), AT_FDCWD, to.bytes.c_str(), kFlags));
}

void RemoveSubtree(Actor& actor) {
  const Path path = PickSubdirectory(actor);
  actor.Note(path);
  RemoveTree(actor, path);
}

// Beyond PATH_MAX only on request, because most tools fail there.
void NestDeeply(Actor& actor) {
  constexpr size_t kUsualBytes = 1500;
  const Path path = PickDirectoryName(actor);
  const int depth = static_cast<int>(actor.random().Between(5, 40));
  const size_t longest = actor.config().long_paths ? NAME_MAX : kUsualBytes / depth;
  const size_t name_bytes = actor.random().Between(1, longest);
  actor.Note(path, "depth", depth, "name_bytes", name_bytes);
  BuildChain(actor, path, depth, name_bytes);
}

constexpr Op kNameOps[] = {
    {"mkdir", 40, Mkdir},
    {"rmdir", 15, Rmdir},
    {"symlink", 15, Symlink},
    {"link", 20, Link},
    {"unlink", 35, Unlink},
    {"mkfifo", 4, MakeFifo},
    {"mksocket", 4, MakeSocket},
    {"mkdevice", 5, MakeDevice, /*needs_root=*/true},
    {"rename", 50, Rename},
    {"rename_exchange", 12, RenameFlagged<RENAME_EXCHANGE>},
    {"rename_noreplace", 12, RenameFlagged<RENAME_NOREPLACE>},
    {"rename_whiteout", 4, RenameFlagged<RENAME_WHITEOUT>,
     /*needs_root=*/true},
    {"remove_tree", 6, RemoveSubtree},
    {"nest_deeply", 3, NestDeeply},
};

}  // namespace

std::span<const Op> NameOps() { return kNameOps; }

}  // namespace tandem::workload
