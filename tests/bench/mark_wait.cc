// mark_wait DIRECTORY SECONDS: makes a directory in one subdirectory of DIRECTORY after the other,
// about one each millisecond, and prints how long that took at the median, for one in a hundred,
// and at the longest, in milliseconds, and how many there were. In a mount, each of them waits for
// a mark if the subdirectory was not changed lately.
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

int main(int argc, char** argv) {
  using Clock = std::chrono::steady_clock;
  if (argc != 3) {
    std::fprintf(stderr, "usage: mark_wait DIRECTORY SECONDS\n");
    return EXIT_FAILURE;
  }
  const auto end = Clock::now() + std::chrono::seconds(std::atoi(argv[2]));
  std::vector<double> waits;
  for (const auto& subdirectory : std::filesystem::directory_iterator(argv[1])) {
    const std::string made = subdirectory.path() / "made";
    const auto begin = Clock::now();
    if (begin >= end) break;
    if (mkdir(made.c_str(), 0755) != 0) {
      std::perror(made.c_str());
      return EXIT_FAILURE;
    }
    waits.push_back(std::chrono::duration<double, std::milli>(Clock::now() - begin).count());
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  if (waits.empty()) {
    std::fprintf(stderr, "%s has no subdirectories\n", argv[1]);
    return EXIT_FAILURE;
  }
  std::sort(waits.begin(), waits.end());
  std::printf("%.2f %.2f %.2f %zu\n", waits[waits.size() / 2], waits[waits.size() * 99 / 100],
              waits.back(), waits.size());
  return EXIT_SUCCESS;
}
