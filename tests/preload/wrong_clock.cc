// Preloaded (LD_PRELOAD) into a program under test: its wall clock is wrong by as many seconds as
// the file $TANDEM_TEST_CLOCK says, a 64-bit number that may change at any time
// (tests/wrong_clock.h). What measures durations goes on. Times that the kernel gives are right:
// they are the kernel's.
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>

namespace {

// Before the constructor has run the clock is right.
const volatile int64_t* wrong_by = nullptr;

int64_t WrongBy() { return wrong_by != nullptr ? *wrong_by : 0; }

template <typename Function>
Function* Next(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

// Looked up before the program can forbid itself anything.
int (*real_clock_gettime)(clockid_t, timespec*) = nullptr;

__attribute__((constructor)) void Begin() {
  real_clock_gettime = Next<int(clockid_t, timespec*)>("clock_gettime");
  const char* const path = getenv("TANDEM_TEST_CLOCK");
  const int fd = path != nullptr ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (fd < 0) abort();
  void* const mapped = mmap(nullptr, sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0);
  if (mapped == MAP_FAILED) abort();
  close(fd);
  wrong_by = static_cast<const int64_t*>(mapped);
}

}  // namespace

extern "C" {

int clock_gettime(clockid_t clock, timespec* now) noexcept {
  if (real_clock_gettime == nullptr) {
    real_clock_gettime = Next<int(clockid_t, timespec*)>("clock_gettime");
  }
  const int result = real_clock_gettime(clock, now);
  const bool is_wall = clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE;
  if (result == 0 && is_wall) now->tv_sec += WrongBy();
  return result;
}

time_t time(time_t* to) noexcept {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (to != nullptr) *to = now.tv_sec;
  return now.tv_sec;
}

int gettimeofday(timeval* to, void*) noexcept {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  *to = {now.tv_sec, now.tv_nsec / 1000};
  return 0;
}

}  // extern "C"
