#include "tests/unit/failing_calls.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>

namespace tandem::test {
namespace {

std::atomic<int> syncs_left = 0;
std::atomic<int> markers_left = 0;

// The call that takes it from one to none fails.
bool Fails(std::atomic<int>& left) {
  for (int before = left; before > 0;) {
    if (!left.compare_exchange_weak(before, before - 1)) continue;
    if (before == 1) errno = EIO;
    return before == 1;
  }
  return false;
}

}  // namespace

void FailSync(int nth) { syncs_left = nth; }
void FailMarker(int nth) { markers_left = nth; }
bool HasFailed() { return syncs_left == 0 && markers_left == 0; }

}  // namespace tandem::test

extern "C" {

int syncfs(int fd) noexcept {
  if (tandem::test::Fails(tandem::test::syncs_left)) return -1;
  return static_cast<int>(syscall(SYS_syncfs, fd));
}

// NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): libc's are reserved names
int renameat(int from_fd, const char* from, int to_fd, const char* to) noexcept {
  const bool is_marker = std::strcmp(to, "applied") == 0;
  if (is_marker && tandem::test::Fails(tandem::test::markers_left)) return -1;
  return static_cast<int>(syscall(SYS_renameat2, from_fd, from, to_fd, to, 0));
}
}
