#include "tools/take_over.h"

#include "fs/mount/mountpoint.h"
#include "meta/base/log.h"
#include "tools/control.h"
#include "tools/state_directory.h"

namespace tandem::tools {
namespace {

constexpr int kAnswerMs = 5000;
// Time to write the state, in addition to --stop-timeout.
constexpr std::chrono::seconds kStateTime{30};

// Fails unless the old tandemfs serves the same volume and source.
Status CheckSame(const Json& status, const MountArguments& arguments,
                 const fs::SourceDirectory& source, const std::string& mountpoint) {
  if (!status.value("makes_room", false)) {
    return MakeError(ErrorKind::kUsage, "the tandemfs mounted on " + mountpoint +
                                            " is of an older version that cannot be taken over "
                                            "from: unmount it first");
  }
  const std::string volume = status.value("volume", "");
  const std::string old_source = status.value("source", "");
  if (volume == arguments.volume && old_source == source.path) return {};
  return fs::AlreadyMounted(mountpoint, old_source + " as volume " + volume);
}

}  // namespace

Result<std::unique_ptr<fs::KernelMount>> TakeOver(const MountArguments& arguments,
                                                  const fs::SourceDirectory& source,
                                                  const std::string& mountpoint) {
  ASSIGN_OR_RETURN(const std::string directory, ControlDirectory(/*create=*/false));
  const std::string socket = ControlSocket(directory, mountpoint);
  ASSIGN_OR_RETURN(const Json status, AskControl(socket, {{"op", "status"}}, kAnswerMs));
  RETURN_IF_ERROR(CheckSame(status, arguments, source, mountpoint));
  ASSIGN_OR_RETURN(auto mount, fs::KernelMount::Create(fs::KernelMountOptions::Parse(
                                   arguments.fuse_options, source.path)));
  if (mount == nullptr) return fs::AlreadyMounted(mountpoint);
  RETURN_IF_ERROR(mount->Attach(mountpoint, fs::KernelMount::Place::kBeneathLive));
  LogInfo("taking over {} from the tandemfs that serves it", mountpoint);
  ASSIGN_OR_RETURN(const Json reply, AskControl(socket, {{"op", "end"}}, kAnswerMs));
  (void)reply;
  RETURN_IF_ERROR(LockSource(source.fd.get(), source.path, arguments.state,
                             arguments.stop_timeout + kStateTime));
  return mount;
}

}  // namespace tandem::tools
