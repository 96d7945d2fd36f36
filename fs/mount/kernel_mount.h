// The kernel's side of our mount, made by the calls that let it exist before it is placed: fsopen,
// fsmount, move_mount (Linux 5.2). So nothing shows until all that may fail has been done, and a
// mount of ours that stands at the mountpoint already is replaced without the bare directory
// showing: the new one goes beneath it (MOVE_MOUNT_BENEATH, Linux 6.5) and then the old one is
// taken away; on an older kernel the new one goes over a dead one.
//
// Requests wait in the kernel from the moment it is placed until the session serves them. A
// process that dies in between leaves a dead mount.
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
  // Only libfuse's own way of mounting knows an option that was asked for.
  bool needs_libfuse = false;

  // `comma_list`: as after -o. What only libfuse or tandemfs understands is passed over.
  static KernelMountOptions Parse(const std::string& comma_list, const std::string& fs_name);
};

class KernelMount {
 public:
  // Null if this process may not, or the kernel cannot: then libfuse has to mount.
  static Result<std::unique_ptr<KernelMount>> Create(const KernelMountOptions& options);
  // Ends the connection with the kernel unless the session has it. A placed mount is taken away,
  // unless it took the place of another: then it stays, dead, as that one did.
  ~KernelMount();
  KernelMount(const KernelMount&) = delete;
  KernelMount& operator=(const KernelMount&) = delete;

  // How fuse_session_mount is told of the connection. The session owns it afterwards: GiveAway.
  std::string DevicePath() const { return "/dev/fd/" + std::to_string(device_.get()); }
  int GiveAway() { return device_.Release(); }

  enum class Place {
    kFreeOrDead,   // dead mounts of ours found there are taken away afterwards
    kBeneathLive,  // a live one stays above until it ends
    kOverDead,     // as kFreeOrDead on a kernel that places nothing beneath
  };
  // `mountpoint` is a name from ResolveMountpoint.
  Status Attach(const std::string& mountpoint, Place place);
  bool attached() const { return placed_.has_value(); }
  // Takes away the dead mounts of ours that cover this one. Those that are there must be dead.
  Status Uncover(const std::string& mountpoint);
  // "major:minor", as in the mount table.
  const std::string& device() const { return device_number_; }

  // Takes the mount away as far as it still stands where path lookup finds it, and older dead ones
  // beneath it.
  Status Detach();

 private:
  // Ids of the mount table are used again at once, for the mounts of others.
  struct Known {
    int id;
    std::string identity;  // meta/mount_identity.h
  };

  KernelMount(UniqueFd device, UniqueFd mount, std::string device_number)
      : device_(std::move(device)),
        mount_(std::move(mount)),
        device_number_(std::move(device_number)) {}

  UniqueFd device_;  // /dev/fuse
  UniqueFd mount_;   // until it is attached: a descriptor of it would keep it busy
  const std::string device_number_;
  std::optional<Known> placed_;
  bool replaced_ = false;
  std::vector<Known> covered_;  // dead mounts of ours beneath it
};

}  // namespace tandem::fs
