// disk_wait FILE COUNT: COUNT times, appends 4 KiB to FILE and waits until the disk has them, then
// pauses for 10 ms. Prints the median and the 99th percentile of that wait, in milliseconds: what a
// replica that does nothing but make a change durable would need here and now.
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

[[noreturn]] void Fail(const char* what) {
  std::perror(what);
  std::exit(EXIT_FAILURE);
}

}  // namespace

int main(int argc, char** argv) {
  const uint64_t count = argc == 3 ? std::strtoull(argv[2], nullptr, 10) : 0;
  if (count == 0) {
    std::fprintf(stderr, "usage: disk_wait FILE COUNT\n");
    return 2;
  }
  const int fd = open(argv[1], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (fd < 0) Fail(argv[1]);
  const std::vector<char> bytes(4096, 'x');
  std::vector<double> waits;
  for (uint64_t i = 0; i < count; ++i) {
    const auto start = Clock::now();
    if (write(fd, bytes.data(), bytes.size()) < 0 || fdatasync(fd) != 0) Fail("write");
    waits.push_back(std::chrono::duration<double, std::milli>(Clock::now() - start).count());
    const timespec pause{0, 10'000'000};
    nanosleep(&pause, nullptr);
  }
  close(fd);
  std::sort(waits.begin(), waits.end());
  std::printf("%.1f %.1f\n", waits[waits.size() / 2], waits[waits.size() * 99 / 100]);
}
