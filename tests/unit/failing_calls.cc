#include "tests/unit/failing_calls.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>

namespace tandem::test {
namespace {

std::atomic<int> syncs_left = 0;
std::atomic<int> markers_left = 0;
std::atomic<const char*> without_times = nullptr;
std::atomic<const char*> forbidden_names = "";
std::atomic<bool> links_forbidden = false;
std::atomic<int> marker_error = 0;

enum class Holding { kNo, kNext, kNow };
std::atomic<Holding> holding[3];

std::atomic<Holding>& HoldingOf(Held call) { return holding[static_cast<int>(call)]; }

void WaitIfHeld(Held call) {
  auto expected = Holding::kNext;
  if (!HoldingOf(call).compare_exchange_strong(expected, Holding::kNow)) return;
  HoldingOf(call).wait(Holding::kNow);
}

bool PathEndsWith(int fd, std::string_view end) {
  char path[PATH_MAX] = {};
  const ssize_t length = readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), path, PATH_MAX);
  return length > 0 && std::string_view(path, static_cast<size_t>(length)).ends_with(end);
}

bool IsStage(int fd) { return PathEndsWith(fd, ".stage"); }

bool IsWithoutTimes(int fd) {
  const char* name = without_times;
  if (name == nullptr || !PathEndsWith(fd, name)) return false;
  if (!without_times.compare_exchange_strong(name, nullptr)) return false;
  errno = EIO;
  return true;
}

// The call that takes it from one to none fails.
bool Fails(std::atomic<int>& left) {
  for (int before = left; before > 0;) {
    if (!left.compare_exchange_weak(before, before - 1)) continue;
    if (before == 1) errno = EIO;
    return before == 1;
  }
  return false;
}

bool IsForbidden(const char* name) {
  const char* const forbidden = forbidden_names;
  if (*forbidden == '\0' || !std::string_view(name).starts_with(forbidden)) return false;
  errno = EILSEQ;
  return true;
}

}  // namespace

void FailSync(int nth) { syncs_left = nth; }
void FailMarker(int nth) { markers_left = nth; }
void FailTimesOf(const char* name) { without_times = name; }
void ForbidNames(const char* beginning) { forbidden_names = beginning; }
void ForbidLinks(bool forbidden) { links_forbidden = forbidden; }
void RefuseMarkers(int error) { marker_error = error; }
void Hold(Held call) { HoldingOf(call) = Holding::kNext; }
bool IsHeld(Held call) { return HoldingOf(call) == Holding::kNow; }
void Release(Held call) {
  HoldingOf(call) = Holding::kNo;
  HoldingOf(call).notify_all();
}
bool HasFailed() { return syncs_left == 0 && markers_left == 0 && without_times == nullptr; }

}  // namespace tandem::test

extern "C" {

int syncfs(int fd) noexcept {
  tandem::test::WaitIfHeld(tandem::test::Held::kSync);
  if (tandem::test::Fails(tandem::test::syncs_left)) return -1;
  return static_cast<int>(syscall(SYS_syncfs, fd));
}

int fdatasync(int fd) {
  if (tandem::test::IsStage(fd)) tandem::test::WaitIfHeld(tandem::test::Held::kStageSync);
  return static_cast<int>(syscall(SYS_fdatasync, fd));
}

// NOLINTBEGIN(readability-inconsistent-declaration-parameter-name): libc's are reserved names
int renameat2(int from_fd, const char* from, int to_fd, const char* to, unsigned flags) noexcept {
  const bool is_marker = std::strcmp(to, "applied") == 0;
  if (is_marker) tandem::test::WaitIfHeld(tandem::test::Held::kMarker);
  if (is_marker && tandem::test::Fails(tandem::test::markers_left)) return -1;
  if (tandem::test::IsForbidden(to)) return -1;
  if (const int error = tandem::test::marker_error; is_marker && error != 0) {
    errno = error;
    return -1;
  }
  return static_cast<int>(syscall(SYS_renameat2, from_fd, from, to_fd, to, flags));
}

int mkdirat(int fd, const char* name, mode_t mode) noexcept {
  if (tandem::test::IsForbidden(name)) return -1;
  return static_cast<int>(syscall(SYS_mkdirat, fd, name, mode));
}

int linkat(int from_fd, const char* from, int to_fd, const char* to, int flags) noexcept {
  if (tandem::test::links_forbidden) {
    errno = EMLINK;
    return -1;
  }
  return static_cast<int>(syscall(SYS_linkat, from_fd, from, to_fd, to, flags));
}

int utimensat(int fd, const char* name, const timespec times[2], int flags) noexcept {
  if (tandem::test::IsWithoutTimes(fd)) return -1;
  return static_cast<int>(syscall(SYS_utimensat, fd, name, times, flags));
}

// Only the creating of files is forbidden.
int openat(int fd, const char* name, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  const mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  if ((flags & O_CREAT) != 0 && tandem::test::IsForbidden(name)) return -1;
  return static_cast<int>(syscall(SYS_openat, fd, name, flags, mode));
}
// NOLINTEND(readability-inconsistent-declaration-parameter-name)
}
