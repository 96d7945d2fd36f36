// Somebody else on a filesystem, who takes all of it.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <string>
#include <thread>

#include "meta/base/unique_fd.h"

namespace tandem::test {

// Takes all that is free, bytes and inodes, and goes on doing so until it is destroyed.
class Competitor {
 public:
  explicit Competitor(std::string directory) : directory_(std::move(directory)) {
    std::filesystem::create_directory(directory_);
    fd_.Reset(open((directory_ + "/bytes").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    thread_ = std::thread([this] { Run(); });
    while (rounds_ < 2) std::this_thread::yield();
  }
  ~Competitor() {
    stopping_ = true;
    thread_.join();
    fd_.Reset();
    std::filesystem::remove_all(directory_);
  }

 private:
  void Run() {
    while (!stopping_) {
      for (off_t size = 256 << 20; size >= 1024; size /= 2) {
        while (fallocate(fd_.get(), 0, end_, size) == 0) end_ += size;
      }
      while (mknod((directory_ + "/" + std::to_string(files_)).c_str(), S_IFREG | 0600, 0) == 0) {
        ++files_;
      }
      ++rounds_;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }

  const std::string directory_;
  UniqueFd fd_;
  off_t end_ = 0;
  size_t files_ = 0;
  std::atomic<int> rounds_ = 0;
  std::atomic<bool> stopping_ = false;
  std::thread thread_;
};

}  // namespace tandem::test
