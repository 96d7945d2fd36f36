#include "fs/mount/io_uring.h"

#include <fcntl.h>
#include <unistd.h>

#include <string>

#include "fs/serving/ring_threads.h"
#include "meta/base/log.h"
#include "meta/base/unique_fd.h"

namespace tandem::fs {
namespace {

constexpr char kParameter[] = "/sys/module/fuse/parameters/enable_uring";

Result<bool> IsOffered() {
  const UniqueFd file(open(kParameter, O_RDONLY | O_CLOEXEC));
  char value = 0;
  if (!file.valid() || read(file.get(), &value, 1) != 1) {
    return ErrnoError(std::string("read ") + kParameter);
  }
  return value == 'Y' || value == '1';
}

Status TurnOn() {
  const UniqueFd file(open(kParameter, O_WRONLY | O_CLOEXEC));
  if (!file.valid() || write(file.get(), "1", 1) != 1) {
    return ErrnoError(std::string("turn on ") + kParameter);
  }
  return {};
}

Status Offer() {
  ASSIGN_OR_RETURN(const bool offered, IsOffered());
  RETURN_IF_ERROR(RingThreads::Probe());  // else it need not be turned on
  if (offered) return {};
  RETURN_IF_ERROR(TurnOn());
  LogInfo("turned on {}: requests of this mount come over io_uring", kParameter);
  return {};
}

}  // namespace

Result<bool> OfferIoUring(IoUring wanted) {
  if (wanted == IoUring::kOff) return false;
  const Status offered = Offer();
  if (offered) return true;
  if (wanted == IoUring::kAuto) {
    LogInfo("requests come over /dev/fuse: {}", offered.error().ToString());
    return false;
  }
  return MakeError(
      ErrorKind::kUsage,
      "mount option io_uring=on: this kernel does not offer FUSE over io_uring, or not "
      "to this process (" +
          offered.error().ToString() +
          "): use Linux 6.14 or later, have root turn the parameter on, allow io_uring "
          "(kernel.io_uring_disabled, a container's filter of system calls), or leave "
          "the option out");
}

}  // namespace tandem::fs
