#include "fs/mount/kernel_mount.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <map>
#include <string_view>

#include "fs/mount/mountpoint.h"
#include "fs/serving/fuse_api.h"
#include "meta/base/fault_point.h"
#include "meta/base/log.h"
#include "meta/base/mount_table.h"
#include "meta/source/mount_identity.h"

#ifndef MOVE_MOUNT_BENEATH
#define MOVE_MOUNT_BENEATH 0x00000200
#endif
#ifndef MOUNT_ATTR_NOSYMFOLLOW
#define MOUNT_ATTR_NOSYMFOLLOW 0x00200000
#endif

namespace tandem::fs {
namespace {

// ---- Options -----------------------------------------------------------------------------------

struct Attribute {
  unsigned bit;
  bool on;
};
const std::map<std::string_view, Attribute> kAttributes = {
    {"ro", {MOUNT_ATTR_RDONLY, true}},
    {"rw", {MOUNT_ATTR_RDONLY, false}},
    {"nosuid", {MOUNT_ATTR_NOSUID, true}},
    {"suid", {MOUNT_ATTR_NOSUID, false}},
    {"nodev", {MOUNT_ATTR_NODEV, true}},
    {"dev", {MOUNT_ATTR_NODEV, false}},
    {"noexec", {MOUNT_ATTR_NOEXEC, true}},
    {"exec", {MOUNT_ATTR_NOEXEC, false}},
    {"noatime", {MOUNT_ATTR_NOATIME, true}},
    {"nodiratime", {MOUNT_ATTR_NODIRATIME, true}},
    {"nosymfollow", {MOUNT_ATTR_NOSYMFOLLOW, true}},
    {"symfollow", {MOUNT_ATTR_NOSYMFOLLOW, false}},
};
constexpr std::string_view kFlags[] = {"ro", "sync", "dirsync", "allow_other"};
constexpr std::string_view kValues[] = {"max_read", "context", "fscontext", "defcontext",
                                        "rootcontext"};
constexpr std::string_view kOnlyLibfuse[] = {"auto_unmount", "blkdev", "blksize", "user"};

int TakeOption(void* data, const char* argument, int key, fuse_args* /*arguments*/) {
  if (key != FUSE_OPT_KEY_OPT) return 0;
  auto& options = *static_cast<KernelMountOptions*>(data);
  const std::string_view option(argument);
  const size_t equals = option.find('=');
  const std::string_view name = option.substr(0, equals);
  const std::string value(equals == option.npos ? "" : option.substr(equals + 1));
  if (const auto known = kAttributes.find(option); known != kAttributes.end()) {
    const auto [bit, on] = known->second;
    options.attributes = on ? options.attributes | bit : options.attributes & ~bit;
  }
  if (option == "rw") std::erase(options.flags, "ro");
  if (std::ranges::count(kFlags, option) != 0) options.flags.emplace_back(option);
  if (equals != option.npos && std::ranges::count(kValues, name) != 0) {
    options.values.emplace_back(name, value);
  }
  if (name == "fsname") options.source = value;
  if (std::ranges::count(kOnlyLibfuse, name) != 0) options.needs_libfuse = true;
  return 0;
}

// ---- Making it ---------------------------------------------------------------------------------

// Returns errno with the messages that the kernel wrote to the filesystem context.
Error RefusedBy(const UniqueFd& context, const std::string& what) {
  const int code = errno;
  std::string why;
  char line[256];
  while (true) {
    const ssize_t length = read(context.get(), line, sizeof line);
    if (length <= 0) break;
    // "e fuse: Unknown parameter": the first letter is the severity.
    if (!why.empty()) why += "; ";
    why += std::string_view(line, static_cast<size_t>(length)).substr(2);
  }
  if (!why.empty() && why.back() == '\n') why.pop_back();
  return Error(ErrorKind::kSystem, code, what + (why.empty() ? "" : " (" + why + ")"));
}

bool SetFlag(const UniqueFd& context, const std::string& name) {
  return fsconfig(context.get(), FSCONFIG_SET_FLAG, name.c_str(), nullptr, 0) == 0;
}
bool SetValue(const UniqueFd& context, const std::string& name, const std::string& value) {
  return fsconfig(context.get(), FSCONFIG_SET_STRING, name.c_str(), value.c_str(), 0) == 0;
}

Status Configure(const UniqueFd& context, int device, const KernelMountOptions& options) {
  std::vector<std::pair<std::string, std::string>> values = {
      {"source", options.source},
      {"subtype", "tandemfs"},
      {"fd", std::to_string(device)},
      {"rootmode", "40000"},
      {"user_id", std::to_string(geteuid())},
      {"group_id", std::to_string(getegid())},
  };
  values.insert(values.end(), options.values.begin(), options.values.end());
  for (const auto& [name, value] : values) {
    if (!SetValue(context, name, value)) {
      return tl::unexpected(RefusedBy(context, "mount option " + name + "=" + value));
    }
  }
  for (const std::string& name : options.flags) {
    if (!SetFlag(context, name)) return tl::unexpected(RefusedBy(context, "mount option " + name));
  }
  if (fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) {
    return tl::unexpected(RefusedBy(context, "make the mount"));
  }
  return {};
}

bool Move(int mount, const std::string& mountpoint, unsigned flags) {
  return move_mount(mount, "", AT_FDCWD, mountpoint.c_str(), MOVE_MOUNT_F_EMPTY_PATH | flags) == 0;
}

}  // namespace

KernelMountOptions KernelMountOptions::Parse(const std::string& comma_list,
                                             const std::string& fs_name) {
  KernelMountOptions options;
  options.source = fs_name;
  options.attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
  // The kernel checks the caller's permissions by mode and ACL. This process runs as root and would
  // not.
  options.flags = {"default_permissions"};
  if (geteuid() == 0) options.flags.emplace_back("allow_other");
  fuse_args arguments = FUSE_ARGS_INIT(0, nullptr);
  const fuse_opt none[] = {FUSE_OPT_END};
  if (fuse_opt_add_arg(&arguments, "tandemfs") == 0 && fuse_opt_add_arg(&arguments, "-o") == 0 &&
      fuse_opt_add_arg(&arguments, comma_list.c_str()) == 0) {
    (void)fuse_opt_parse(&arguments, &options, none, TakeOption);
  }
  fuse_opt_free_args(&arguments);
  return options;
}

Result<std::unique_ptr<KernelMount>> KernelMount::Create(const KernelMountOptions& options) {
  if (options.needs_libfuse) return nullptr;
  const UniqueFd context(fsopen("fuse", FSOPEN_CLOEXEC));
  if (!context.valid()) return nullptr;
  UniqueFd device(open("/dev/fuse", O_RDWR | O_CLOEXEC));
  if (!device.valid()) return ErrnoError("open /dev/fuse");
  RETURN_IF_ERROR(Configure(context, device.get(), options));
  UniqueFd mount(fsmount(context.get(), FSMOUNT_CLOEXEC, options.attributes));
  if (!mount.valid()) return tl::unexpected(RefusedBy(context, "make the mount"));
  struct statx root;
  // AT_STATX_DONT_SYNC: no request is sent, since none is answered yet.
  if (statx(mount.get(), "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_MNT_ID, &root) != 0) {
    return ErrnoError("look at the mount");
  }
  std::string number =
      std::to_string(root.stx_dev_major) + ":" + std::to_string(root.stx_dev_minor);
  return std::unique_ptr<KernelMount>(
      new KernelMount(std::move(device), std::move(mount), std::move(number)));
}

KernelMount::~KernelMount() {
  device_.Reset();
  if (!attached() || replaced_) return;
  if (const Status detached = Detach(); !detached) LogWarning("{}", detached.error().ToString());
}

Status KernelMount::Attach(const std::string& mountpoint, Place place) {
  ASSIGN_OR_RETURN(const Occupant occupant, OccupantOf(mountpoint));
  if (occupant == Occupant::kLive && place != Place::kBeneathLive) {
    return AlreadyMounted(mountpoint);
  }
  FAULT_POINT("source.start.before_attach");
  ASSIGN_OR_RETURN(const int id, MountIdOf(mount_.get()));
  ASSIGN_OR_RETURN(const std::string identity, meta::MountIdentityOf(mount_.get()));
  const bool on_top = occupant == Occupant::kNone || place == Place::kOverDead;
  const unsigned beneath = on_top ? 0 : MOVE_MOUNT_BENEATH;
  bool moved = Move(mount_.get(), mountpoint, beneath);
  // EINVAL before Linux 6.5 and with some kinds of mount propagation: place it on top.
  if (!moved && beneath != 0 && errno == EINVAL && occupant == Occupant::kDead) {
    moved = Move(mount_.get(), mountpoint, 0);
  }
  if (!moved) return ErrnoError("mount on " + mountpoint);
  placed_ = PlacedMount{id, identity};
  mount_.Reset();
  replaced_ = occupant != Occupant::kNone;
  FAULT_POINT("source.start.attached");
  if (occupant == Occupant::kDead) RETURN_IF_ERROR(DetachDeadAbove(mountpoint));
  ASSIGN_OR_RETURN(const auto stack, MountsAt(mountpoint));
  for (const MountedFilesystem& mount : stack) {
    if (mount.id == id) break;
    if (mount.type != kMountType) continue;
    ASSIGN_OR_RETURN(std::string covered, meta::MountIdentityOfId(mount.id));
    covered_.push_back({mount.id, std::move(covered)});
  }
  FAULT_POINT("source.start.replaced");
  return {};
}

// Detaches from the top of the stack down to our own mount.
Status KernelMount::DetachDeadAbove(const std::string& mountpoint) {
  while (true) {
    ASSIGN_OR_RETURN(const auto stack, MountsAt(mountpoint));
    const auto ours = std::ranges::find(stack, placed_->id, &MountedFilesystem::id);
    if (ours == stack.end() || ours + 1 == stack.end()) return {};
    if (stack.back().type != kMountType) return {};  // another filesystem covers it
    if (umount2(mountpoint.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) != 0) {
      return ErrnoError("detach the dead mount at " + mountpoint);
    }
    LogWarning("detached the dead mount at {}, left by a tandemfs that was killed", mountpoint);
  }
}

Status KernelMount::Detach() {
  std::vector<PlacedMount> ours = covered_;
  if (placed_) ours.push_back(*placed_);
  while (!ours.empty()) {
    const PlacedMount mount = ours.back();
    ours.pop_back();
    ASSIGN_OR_RETURN(const auto mounts, ReadMountTable());
    // It may have been moved.
    const auto found = std::ranges::find(mounts, mount.id, &MountedFilesystem::id);
    if (found == mounts.end()) continue;
    const UniqueFd top(open(found->path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    if (!top.valid()) continue;
    // Another mount has this id now, or covers ours.
    if (meta::MountIdentityOf(top.get()).value_or("") != mount.identity) continue;
    if (umount2(found->path.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) != 0) {
      return ErrnoError("unmount " + found->path);
    }
  }
  return {};
}

}  // namespace tandem::fs
