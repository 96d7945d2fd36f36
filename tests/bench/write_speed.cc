// write_speed FILE random|sequential SECONDS [MIB_PER_SECOND]: overwrites FILE (256 MiB, made if
// need be) in 4 KiB pieces at random places, or from front to end in 1 MiB pieces, not faster than
// told, and prints MiB per second of write(2). Buffered, one thread.
#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr uint64_t kFileBytes = 256 << 20;
using Clock = std::chrono::steady_clock;

[[noreturn]] void Fail(const char* what) {
  std::perror(what);
  std::exit(EXIT_FAILURE);
}

void WriteAt(int fd, const std::vector<char>& piece, uint64_t offset) {
  const ssize_t written = pwrite(fd, piece.data(), piece.size(), static_cast<off_t>(offset));
  if (written != static_cast<ssize_t>(piece.size())) Fail("pwrite");
}

void MakeFile(int fd) {
  const std::vector<char> piece(1 << 20, 'x');
  for (uint64_t at = 0; at < kFileBytes; at += piece.size()) WriteAt(fd, piece, at);
  if (fsync(fd) != 0) Fail("fsync");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4 && argc != 5) {
    std::fprintf(stderr, "usage: write_speed FILE random|sequential SECONDS [MIB_PER_SECOND]\n");
    return 2;
  }
  const bool random = std::string(argv[2]) == "random";
  const int fd = open(argv[1], O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) Fail(argv[1]);
  if (lseek(fd, 0, SEEK_END) < static_cast<off_t>(kFileBytes)) MakeFile(fd);

  std::mt19937_64 generator(42);
  std::vector<char> piece(random ? 4096 : 1 << 20);
  for (char& c : piece) c = static_cast<char>(generator());
  const auto length = std::chrono::duration<double>(std::atof(argv[3]));
  const double rate = argc == 5 ? std::atof(argv[4]) : std::numeric_limits<double>::infinity();
  const auto start = Clock::now();
  uint64_t bytes = 0;
  do {
    const uint64_t pieces = kFileBytes / piece.size();
    const uint64_t number = random ? generator() % pieces : bytes / piece.size() % pieces;
    WriteAt(fd, piece, number * piece.size());
    bytes += piece.size();
    const auto due =
        start + std::chrono::duration_cast<Clock::duration>(
                    std::chrono::duration<double>(static_cast<double>(bytes) / (1 << 20) / rate));
    if (due > Clock::now()) std::this_thread::sleep_until(due);
  } while (Clock::now() - start < length);
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  std::printf("%.1f\n", static_cast<double>(bytes) / (1 << 20) / seconds);
  close(fd);
}
