// small_files DIRECTORY COUNT [BYTES]: makes COUNT files of BYTES (default 4096) bytes in
// DIRECTORY, a hundred a subdirectory, each by open, write and close, and prints files per second.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace {

constexpr int kInDirectory = 100;

[[noreturn]] void Fail(const std::string& what) {
  std::perror(what.c_str());
  std::exit(EXIT_FAILURE);
}

void MakeFile(const std::string& path, const std::string& content) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd < 0) Fail(path);
  if (write(fd, content.data(), content.size()) != static_cast<ssize_t>(content.size())) Fail(path);
  if (close(fd) != 0) Fail(path);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: small_files DIRECTORY COUNT [BYTES]\n");
    return EXIT_FAILURE;
  }
  const std::string top = argv[1];
  const int count = std::atoi(argv[2]);
  const std::string content(argc > 3 ? std::strtoul(argv[3], nullptr, 10) : 4096, 'x');
  const auto begin = std::chrono::steady_clock::now();
  std::string directory;
  for (int i = 0; i < count; ++i) {
    if (i % kInDirectory == 0) {
      directory = top + "/" + std::to_string(i / kInDirectory);
      if (mkdir(directory.c_str(), 0755) != 0) Fail(directory);
    }
    MakeFile(directory + "/" + std::to_string(i), content);
  }
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
  std::printf("%.1f\n", count / taken.count());
  return EXIT_SUCCESS;
}
