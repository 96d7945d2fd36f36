// overwrite_once FILE FROM_MIB TO_MIB random|sequential: overwrites this part of FILE once, in 4
// KiB pieces in random order or in 1 MiB pieces from front to end, and prints MiB per second of
// write(2). Buffered, one thread. Each piece once: what a frozen cut needs of it has to be kept
// each time.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <numeric>
#include <random>
#include <string>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

[[noreturn]] void Fail(const char* what) {
  std::perror(what);
  std::exit(EXIT_FAILURE);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fprintf(stderr, "usage: overwrite_once FILE FROM_MIB TO_MIB random|sequential\n");
    return 2;
  }
  const bool random = std::string(argv[4]) == "random";
  const uint64_t size = random ? 4096 : 1 << 20;
  const uint64_t first = std::strtoull(argv[2], nullptr, 10) * ((1 << 20) / size);
  const uint64_t end = std::strtoull(argv[3], nullptr, 10) * ((1 << 20) / size);
  const int fd = open(argv[1], O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) Fail(argv[1]);

  std::mt19937_64 generator(std::random_device{}());
  std::vector<uint64_t> piece(size / sizeof(uint64_t));
  std::vector<uint64_t> order(end - first);
  std::iota(order.begin(), order.end(), first);
  if (random) std::shuffle(order.begin(), order.end(), generator);

  const auto start = Clock::now();
  for (const uint64_t number : order) {
    // Nothing that a link could compress.
    std::generate(piece.begin(), piece.end(), std::ref(generator));
    const ssize_t written = pwrite(fd, piece.data(), size, static_cast<off_t>(number * size));
    if (written != static_cast<ssize_t>(size)) Fail("pwrite");
  }
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  std::printf("%.1f\n", static_cast<double>(order.size() * size) / (1 << 20) / seconds);
  close(fd);
}
