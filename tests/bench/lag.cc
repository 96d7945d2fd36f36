// lag MOUNT-FILE REPLICA-FILE COUNT: COUNT times, writes a number into MOUNT-FILE and waits until
// REPLICA-FILE shows it, then pauses for a random time of up to 20 ms. Prints the median and the
// 99th percentile, in milliseconds, of the time from the return of write(2) to the bytes being in
// the replica's tree.
#include <fcntl.h>
#include <sched.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

[[noreturn]] void Fail(const char* what) {
  std::perror(what);
  std::exit(EXIT_FAILURE);
}

uint64_t ReadNumber(int fd) {
  uint64_t number = 0;
  return pread(fd, &number, sizeof number, 0) == sizeof number ? number : 0;
}

// The replica may replace the file, and has none at first: it is opened anew until it shows the
// number.
double AwaitMs(const char* path, uint64_t number, Clock::time_point since) {
  const auto deadline = since + std::chrono::seconds(60);
  while (Clock::now() < deadline) {
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const uint64_t seen = fd < 0 ? 0 : ReadNumber(fd);
    if (fd >= 0) close(fd);
    if (seen == number) {
      return std::chrono::duration<double, std::milli>(Clock::now() - since).count();
    }
    sched_yield();
  }
  std::fprintf(stderr, "lag: %s did not follow within 60 s\n", path);
  std::exit(EXIT_FAILURE);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: lag MOUNT-FILE REPLICA-FILE COUNT\n");
    return 2;
  }
  const int fd = open(argv[1], O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) Fail(argv[1]);
  std::mt19937_64 generator(7);
  std::vector<double> lags;
  const uint64_t count = std::strtoull(argv[3], nullptr, 10);
  const uint64_t base = generator();
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t number = base + i;
    if (pwrite(fd, &number, sizeof number, 0) != sizeof number) Fail("pwrite");
    lags.push_back(AwaitMs(argv[2], number, Clock::now()));
    const timespec pause{0, static_cast<long>(generator() % 20'000'000)};
    nanosleep(&pause, nullptr);
  }
  close(fd);
  std::sort(lags.begin(), lags.end());
  std::printf("%.1f %.1f\n", lags[lags.size() / 2], lags[lags.size() * 99 / 100]);
}
