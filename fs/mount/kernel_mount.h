// The kernel's side of a mount, made by the system calls that create it before it is placed:
// fsopen, fsmount, move_mount (Linux 5.2). Nothing is visible until everything that may fail has
// been done. A mount of ours that already stands at the mountpoint is replaced without the bare
// directory showing: the new mount is placed beneath it (MOVE_MOUNT_BENEATH, Linux 6.5), and then
// the old one is detached. On an older kernel the new mount is placed on top of a dead one.
//
// Requests wait in the kernel from the moment the mount is placed until the session serves them. If
// the process dies in between, the mount is dead.
//
// One thread at a time.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "meta/base/result.h"
#include "meta/base/unique_fd.h"

namespace tandem::fs {

struct KernelMountOptions {
  std::string source = "tandemfs";  // the first column of the mount table
  std::vector<std::string> flags;   // of the filesystem, for fsconfig(2)
  std::vector<std::pair<std::string, std::string>> values;
  unsigned attributes = 0;  // MOUNT_ATTR_...
  // An option was given that only libfuse's own mount code handles.
  bool needs_libfuse = false;

  // `comma_list`: the argument of -o. Skips options that only libfuse or tandemfs handles.
  static KernelMountOptions Parse(const std::string& comma_list, const std::string& fs_name);
};

class KernelMount {
 public:
  // Returns null if this process or the kernel cannot mount this way: then libfuse has to.
  static Result<std::unique_ptr<KernelMount>> Create(const KernelMountOptions& options);
  // Closes the connection with the kernel unless the session owns it. Detaches a placed mount,
  // unless it replaced another one: then it stays, dead, so that the bare directory does not show.
  ~KernelMount();
  KernelMount(const KernelMount&) = delete;
  KernelMount& operator=(const KernelMount&) = delete;

  // The argument for fuse_session_mount. If that succeeds, the session owns the descriptor: call
  // ReleaseDevice.
  std::string DevicePath() const { return "/dev/fd/" + std::to_string(device_.get()); }
  int ReleaseDevice() { return device_.Release(); }

  enum class Place {
    kFreeOrDead,   // beneath dead mounts of ours, which are then detached
    kBeneathLive,  // beneath a live one, which stays until it ends
    kOverDead,     // on top of a dead one, as on a kernel without MOVE_MOUNT_BENEATH
  };
  // Places the mount. `mountpoint` comes from ResolveMountpoint.
  Status Attach(const std::string& mountpoint, Place place);
  bool attached() const { return placed_.has_value(); }
  // Detaches the mounts of ours above this one. Requires that they are dead.
  Status DetachDeadAbove(const std::string& mountpoint);
  // "major:minor", as in the mount table.
  const std::string& device() const { return device_number_; }

  // Detaches the mount, and the dead ones beneath it, where path lookup still finds them.
  Status Detach();

 private:
  // The kernel reuses ids of the mount table at once, so the identity is compared as well.
  struct PlacedMount {
    int id;
    std::string identity;  // meta/source/mount_identity.h
  };

  KernelMount(UniqueFd device, UniqueFd mount, std::string device_number)
      : device_(std::move(device)),
        mount_(std::move(mount)),
        device_number_(std::move(device_number)) {}

  UniqueFd device_;  // /dev/fuse
  UniqueFd mount_;   // closed once the mount is placed: it would keep the mount busy
  const std::string device_number_;
  std::optional<PlacedMount> placed_;
  bool replaced_ = false;
  std::vector<PlacedMount> covered_;  // dead mounts of ours beneath it
};

}  // namespace tandem::fs
