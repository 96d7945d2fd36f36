// A link between a mount and its replica that a test can slow down, silence and cut. It carries TCP
// connections from its own port of this host to the replica's.
#pragma once

#include <atomic>
#include <list>
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
  // Connections accepted so far.
  int accepted() const { return accepted_; }
  // Bytes carried towards the replica so far.
  uint64_t carried() const { return carried_; }
  // The same bytes, of the first connection, up to a few MiB.
  std::string recorded() const EXCLUDES(mutex_);

 private:
  struct Pair {
    UniqueFd near;
    UniqueFd far;
    std::atomic<int> ended{0};  // of its two threads
    std::thread forth;
    std::thread back;
    bool is_first = false;
  };

  void Accept() EXCLUDES(mutex_);
  void Carry(Pair& pair, bool forth) EXCLUDES(mutex_);
  void Record(std::string_view bytes) EXCLUDES(mutex_);
  void Reap() REQUIRES(mutex_);

  std::string url_;
  uint16_t target_port_ = 0;
  UniqueFd listener_;
  std::vector<UniqueFd> waiting_;  // connections that fill the listener's queue
  std::atomic<uint64_t> rate_{0};
  std::atomic<bool> silent_{false};
  std::atomic<bool> stopping_{false};
  std::atomic<int> accepted_{0};
  std::atomic<uint64_t> carried_{0};
  mutable Mutex mutex_;
  std::string recorded_ GUARDED_BY(mutex_);
  std::list<Pair> pairs_ GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace tandem::test
