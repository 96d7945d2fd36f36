#include "tools/process_limits.h"

#include <malloc.h>
#include <sys/resource.h>

#include "meta/base/log.h"
#include "meta/base/result.h"

namespace tandem::tools {

void RaiseOpenFiles() {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &limit) == 0) return;
  LogWarning("{}", ErrnoError("raise the limit of open files").value().ToString());
}

void LimitHeaps() {
  constexpr int kHeaps = 4;
  (void)mallopt(M_ARENA_MAX, kHeaps);
  KeepLargeBlocks();
}

void KeepLargeBlocks() {
  constexpr int kLarge = 8 << 20;
  (void)mallopt(M_MMAP_THRESHOLD, kLarge);
  (void)mallopt(M_TRIM_THRESHOLD, 2 * kLarge);
}

}  // namespace tandem::tools
