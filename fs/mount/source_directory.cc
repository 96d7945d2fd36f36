#include "fs/mount/source_directory.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>

#include "fs/mount/mountpoint.h"
#include "meta/base/mount_table.h"
#include "meta/change/file_handle.h"
#include "meta/source/mount_identity.h"

namespace tandem::fs {
namespace {

constexpr int kDirectory = O_RDONLY | O_DIRECTORY | O_CLOEXEC;

// ---- The child ---------------------------------------------------------------------------------

// Detaches our mounts on `path` in a mount namespace of this process alone. Returns a copy of the
// mount of the directory beneath, with the mounts below it.
UniqueFd CopyFromBeneath(const std::string& path) {
  if (unshare(CLONE_NEWNS) != 0) return {};
  // Otherwise the unmounts below would propagate to other namespaces.
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return {};
  while (true) {
    const auto stack = MountsAt(path);
    if (!stack) return {};
    if (stack->empty() || stack->back().type != kMountType) break;
    if (umount2(path.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) != 0) return {};
  }
  return UniqueFd(
      open_tree(AT_FDCWD, path.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE));
}

// A message: an errno, or 0 and a descriptor.
struct Message {
  int code = 0;
  iovec data = {&code, sizeof code};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr header = {};

  Message() {
    header.msg_iov = &data;
    header.msg_iovlen = 1;
  }
  void UseControl() {
    header.msg_control = control;
    header.msg_controllen = sizeof control;
  }
};

void Send(int socket, const UniqueFd& fd, int code) {
  Message message;
  message.code = fd.valid() ? 0 : code;
  if (fd.valid()) {
    message.UseControl();
    cmsghdr* const head = CMSG_FIRSTHDR(&message.header);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(int));
    const int number = fd.get();
    std::memcpy(CMSG_DATA(head), &number, sizeof number);
  }
  (void)sendmsg(socket, &message.header, MSG_NOSIGNAL);
}

// ---- The parent --------------------------------------------------------------------------------

Result<UniqueFd> Receive(int socket) {
  Message message;
  message.UseControl();
  ssize_t received;
  do {
    received = recvmsg(socket, &message.header, MSG_CMSG_CLOEXEC);
  } while (received < 0 && errno == EINTR);
  if (received < 0) return ErrnoError("receive the source from the process that opens it");
  if (received == 0)
    return ErrnoError(ECHILD,
                      "open the directory beneath the mount (the process that does it died)");
  const cmsghdr* const head = CMSG_FIRSTHDR(&message.header);
  if (message.code != 0 || head == nullptr)
    return ErrnoError(message.code, "open the directory beneath the mount");
  int number;
  std::memcpy(&number, CMSG_DATA(head), sizeof number);
  return UniqueFd(number);
}

Result<UniqueFd> CopyOf(const std::string& path) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    return ErrnoError("make a socket pair");
  }
  UniqueFd ours(ends[0]);
  UniqueFd theirs(ends[1]);
  const pid_t child = fork();
  if (child < 0) return ErrnoError("fork");
  if (child == 0) {
    const UniqueFd copy = CopyFromBeneath(path);
    Send(theirs.get(), copy, errno);
    _exit(EXIT_SUCCESS);
  }
  theirs.Reset();
  Result<UniqueFd> copy = Receive(ours.get());
  while (waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  return copy;
}

bool AreOne(int a, int b) {
  struct stat first;
  struct stat second;
  return fstat(a, &first) == 0 && fstat(b, &second) == 0 && first.st_dev == second.st_dev &&
         first.st_ino == second.st_ino;
}

// Opens the directory that `copy` shows on its original mount `mount_id`. Returns an invalid
// descriptor if it is the root of that mount or cannot be opened by handle.
UniqueFd OpenOriginal(const std::string& path, int copy, int mount_id) {
  const UniqueFd parent(open(DirectoryAbove(path).c_str(), kDirectory));
  if (!parent.valid() || MountIdOf(parent.get()).value_or(0) != mount_id) return {};
  const auto object = Identify(copy, "");
  if (!object) return {};
  auto found = OpenByHandle(parent.get(), object->handle, O_RDONLY | O_DIRECTORY);
  if (!found || !AreOne(found->get(), copy)) return {};
  return std::move(*found);
}

Result<SourceDirectory> OpenBeneath(const std::string& path,
                                    const std::vector<MountedFilesystem>& stack) {
  SourceDirectory source;
  source.path = path;
  // The mount beneath the lowest of ours.
  for (auto mount = stack.rbegin(); mount != stack.rend() && mount->type == kMountType; ++mount) {
    source.mount_id = mount->parent;
  }
  auto copy = CopyOf(path);
  if (!copy) {
    return MakeError(ErrorKind::kRefused,
                     "open the directory beneath the tandemfs mounted on " + path + " (" +
                         copy.error().ToString() + ")",
                     copy.error().code());
  }
  source.copy = std::move(*copy);
  source.fd = OpenOriginal(path, source.copy.get(), source.mount_id);
  if (source.fd.valid()) {
    source.copy.Reset();
    ASSIGN_OR_RETURN(source.mount_identity, meta::MountIdentityOf(source.fd.get()));
    return source;
  }
  source.fd.Reset(openat(source.copy.get(), ".", kDirectory));
  if (!source.fd.valid()) return ErrnoError("open source " + path);
  ASSIGN_OR_RETURN(source.mount_identity, meta::MountIdentityOfId(source.mount_id));
  return source;
}

}  // namespace

Result<SourceDirectory> OpenSource(const std::string& source, const std::string& mountpoint) {
  SourceDirectory opened;
  auto path = ResolveMountpoint(source);
  if (!path) return tl::unexpected<Error>(std::move(path.error()).Within("find source " + source));
  if (*path == mountpoint) {
    ASSIGN_OR_RETURN(const auto stack, MountsAt(*path));
    if (!stack.empty() && stack.back().type == kMountType) return OpenBeneath(*path, stack);
  }
  opened.path = std::move(*path);
  opened.fd.Reset(open(opened.path.c_str(), kDirectory));
  if (!opened.fd.valid()) return ErrnoError("open source " + opened.path);
  ASSIGN_OR_RETURN(opened.mount_id, MountIdOf(opened.fd.get()));
  ASSIGN_OR_RETURN(opened.mount_identity, meta::MountIdentityOf(opened.fd.get()));
  return opened;
}

}  // namespace tandem::fs
