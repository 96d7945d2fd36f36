// open_write_close FILE COUNT: opens FILE, overwrites its first 4 KiB and closes it, COUNT times,
// and prints how often a second. One thread; nothing is synced.
#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: open_write_close FILE COUNT\n");
    return 2;
  }
  const std::string content(4096, 'x');
  const long count = std::strtol(argv[2], nullptr, 10);
  const auto begin = std::chrono::steady_clock::now();
  for (long i = 0; i < count; ++i) {
    const int fd = open(argv[1], O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    const bool written =
        fd >= 0 && pwrite(fd, content.data(), content.size(), 0) == ssize_t{4096} && close(fd) == 0;
    if (!written) {
      std::perror(argv[1]);
      return EXIT_FAILURE;
    }
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  std::printf("%.1f\n", static_cast<double>(count) / took.count());
}
