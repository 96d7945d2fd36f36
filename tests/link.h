// A link between a mount and its replica that a test can slow down, silence, cut, and tamper with.
// It carries TCP connections from its own port of this host to the replica's.
#pragma once

#include <atomic>
#include <list>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "meta/base/mutex.h"
#include "meta/base/unique_fd.h"

namespace tandem::test {

// Used by the test's own thread.
class Link {
 public:
  // To tcp://127.0.0.1:PORT.
  explicit Link(const std::string& target);
  ~Link();

  // What the mount is to be told.
  const std::string& url() const { return url_; }
  // Towards the replica; 0: as fast as it goes, which it is at first.
  void SetRate(uint64_t bytes_per_second) { rate_ = bytes_per_second; }
  // Nothing passes in either direction, and nobody is told: connections stay, and attempts to make
  // new ones get no answer.
  void SetSilent(bool silent);
  // Ends the connections there are; new ones are carried.
  void Cut() EXCLUDES(mutex_);
  // Leads new connections to another port of this host.
  void SetTarget(const std::string& target) { target_port_ = PortOf(target); }
  // What is done to a connection when this byte of one direction passes.
  struct Fault {
    enum class Kind { kFlip, kCut };
    Kind kind = Kind::kFlip;  // alters the byte; or ends the connection in front of it
    bool forth = true;        // towards the replica
    uint64_t at = 0;
    uint8_t mask = 1;     // of the bits that are flipped
    bool always = false;  // on every connection; otherwise on one
  };
  void SetFault(std::optional<Fault> fault) EXCLUDES(mutex_);
  // How often a fault has struck.
  int struck() const { return struck_; }
  // Connections accepted so far.
  int accepted() const { return accepted_; }
  // Bytes carried towards the replica so far.
  uint64_t carried() const { return carried_; }
  // What the longest of the first few connections has carried in one direction, up to a few MiB.
  std::string Recorded(bool forth) const EXCLUDES(mutex_);

 private:
  struct Pair {
    UniqueFd near;
    UniqueFd far;
    std::atomic<int> ended{0};  // of its two threads
    std::thread forth;
    std::thread back;
    size_t number = 0;
  };

  void Accept() EXCLUDES(mutex_);
  void Carry(Pair& pair, bool forth) EXCLUDES(mutex_);
  void Record(size_t connection, bool forth, std::string_view bytes) EXCLUDES(mutex_);
  // Does to a piece, which begins at this byte, what is to be done. Returns how much of it passes
  // before the connection ends, or all of it.
  size_t Tamper(bool forth, uint64_t begin, char* bytes, size_t size) EXCLUDES(mutex_);
  static uint16_t PortOf(const std::string& url);
  void Reap() REQUIRES(mutex_);

  std::string url_;
  std::atomic<uint16_t> target_port_;
  UniqueFd listener_;
  std::vector<UniqueFd> waiting_;  // connections that fill the listener's queue
  std::atomic<uint64_t> rate_{0};
  std::atomic<bool> silent_{false};
  std::atomic<bool> stopping_{false};
  std::atomic<int> accepted_{0};
  std::atomic<uint64_t> carried_{0};
  std::atomic<int> struck_{0};
  mutable Mutex mutex_;
  std::optional<Fault> fault_ GUARDED_BY(mutex_);
  std::vector<std::string> recorded_[2] GUARDED_BY(mutex_);  // back, forth
  std::list<Pair> pairs_ GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace tandem::test
