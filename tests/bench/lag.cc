// lag COUNT MOUNT-FILE REPLICA-FILE...: COUNT times, writes a number into MOUNT-FILE and waits
// until every REPLICA-FILE shows it, then pauses for a random time of up to 20 ms. Prints the
// median, the 99th percentile and the maximum, in milliseconds, of the time from the return of
// write(2) to the bytes being in the tree of the slowest replica.
#include <fcntl.h>
#include <sys/prctl.h>
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

// Precise enough, and leaves the processors to what is being measured.
constexpr long kLookEveryNs = 200'000;

[[noreturn]] void Fail(const char* what) {
  std::perror(what);
  std::exit(EXIT_FAILURE);
}

void Sleep(long nanoseconds) {
  const timespec pause{0, nanoseconds};
  nanosleep(&pause, nullptr);
}

// The replica may replace the file, and has none at first: it is opened anew until it shows the
// number.
bool Shows(const char* path, uint64_t number) {
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  uint64_t seen = 0;
  const bool shows = pread(fd, &seen, sizeof seen, 0) == sizeof seen && seen == number;
  close(fd);
  return shows;
}

void Await(const char* path, uint64_t number, Clock::time_point deadline) {
  while (!Shows(path, number)) {
    if (Clock::now() > deadline) {
      std::fprintf(stderr, "lag: %s did not follow within 60 s\n", path);
      std::exit(EXIT_FAILURE);
    }
    Sleep(kLookEveryNs);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "usage: lag COUNT MOUNT-FILE REPLICA-FILE...\n");
    return 2;
  }
  const uint64_t count = std::strtoull(argv[1], nullptr, 10);
  const int fd = open(argv[2], O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) Fail(argv[2]);
  prctl(PR_SET_TIMERSLACK, 1);
  std::mt19937_64 generator(7);
  std::vector<double> lags;
  const uint64_t base = generator();
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t number = base + i;
    if (pwrite(fd, &number, sizeof number, 0) != sizeof number) Fail("pwrite");
    const auto written = Clock::now();
    // One after the other: the last to show it is the slowest.
    for (int replica = 3; replica < argc; ++replica) {
      Await(argv[replica], number, written + std::chrono::seconds(60));
    }
    lags.push_back(std::chrono::duration<double, std::milli>(Clock::now() - written).count());
    Sleep(static_cast<long>(generator() % 20'000'000));
  }
  close(fd);
  std::sort(lags.begin(), lags.end());
  std::printf("%.1f %.1f %.1f\n", lags[lags.size() / 2], lags[lags.size() * 99 / 100], lags.back());
}
