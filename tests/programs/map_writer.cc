// map_writer FILE PAGES TAG [--keep-storing]: stores TAG at the beginning of each page of FILE
// through a shared mapping, whose descriptor it has closed, prints "dirty", and keeps the mapping
// until it is killed. With --keep-storing it goes on storing into the first page.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>

int main(int argc, char** argv) {
  if (argc < 4) return EXIT_FAILURE;
  const std::string tag = argv[3];
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t size = page * static_cast<size_t>(std::atol(argv[2]));
  const int fd = open(argv[1], O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0 || ftruncate(fd, static_cast<off_t>(size)) != 0) {
    std::perror(argv[1]);
    return EXIT_FAILURE;
  }
  void* const memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED || close(fd) != 0) {
    std::perror("mmap");
    return EXIT_FAILURE;
  }
  auto* const bytes = static_cast<char*>(memory);
  for (size_t at = 0; at < size; at += page) std::ranges::copy(tag, bytes + at);
  std::puts("dirty");
  std::fflush(stdout);
  if (argc == 4) {
    while (true) pause();
  }
  auto* const counter = reinterpret_cast<volatile unsigned*>(bytes + page / 2);
  while (true) {
    *counter = *counter + 1;
    usleep(1000);
  }
}
