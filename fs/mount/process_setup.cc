#include "fs/mount/process_setup.h"

#include <grp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>

namespace tandem::fs {
namespace {

void RaiseToHardLimit(__rlimit_resource resource) {
  rlimit limit;
  if (getrlimit(resource, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(resource, &limit);
}

}  // namespace

void PrepareProcess() {
  RaiseToHardLimit(RLIMIT_NOFILE);
  RaiseToHardLimit(RLIMIT_FSIZE);
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
  if (geteuid() == 0) (void)setgroups(0, nullptr);  // refused in most user namespaces
}

void BecomeFlusher() { prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0); }

}  // namespace tandem::fs
