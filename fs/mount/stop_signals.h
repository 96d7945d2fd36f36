// SIGTERM and SIGINT as a request to end cleanly, received through a descriptor instead of a
// handler; and SIGHUP, which ends nothing. Make it in main before any thread is started: threads
// inherit the blocked mask, and a signal that finds them blocked everywhere waits for
// FileSystemMount::Run.
#pragma once

#include <csignal>

namespace tandem::fs {

class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  // SIGTERM, SIGINT, SIGHUP.
  static sigset_t Set();

 private:
  sigset_t previous_;
};

}  // namespace tandem::fs
