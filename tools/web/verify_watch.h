// The verifies that were started from the web page. Polls them, so that they go on while no browser
// looks, and keeps what each of them has found until the next one of the same replica.
//
// Any thread; Poll is called by one thread only.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "meta/base/mutex.h"
#include "tools/control.h"

namespace tandem::tools {

class VerifyWatch {
 public:
  // Starts what `request`, an op "verify" of the control socket, asks for. `mount` is the mount's
  // id in Hub.
  Status Start(const std::string& mount, const std::string& socket, const Json& request);
  // Ends a verify, or forgets the result of one that has ended.
  Status Stop(const std::string& mount, int64_t job);
  bool IsRunning();
  // Asks every tandemfs how far it is.
  void Poll();
  // Returns what is known of the verifies of a mount: for each, the last answer to "verify-poll"
  // with "job", "replica", "repair", "full", "seconds" (since its start) and "stopped".
  Json Of(const std::string& mount);

 private:
  using Clock = std::chrono::steady_clock;

  struct Job {
    std::string mount;
    std::string socket;
    std::string replica;
    int64_t id = 0;
    bool repairs = false;
    bool finished = false;
    bool stopped = false;  // by the user
    Clock::time_point began;
    Clock::time_point ended;
    Json last = Json::object();
  };

  static void PollOne(Job& job);

  Mutex mutex_;
  std::vector<Job> jobs_ GUARDED_BY(mutex_);
};

}  // namespace tandem::tools
