// Blocks SIGTERM, SIGINT and SIGHUP, so that they can be received through a descriptor instead of
// by a handler. Construct it in main before any thread is started, since threads inherit the mask.
// A signal stays pending until FileSystemMount::Run. SIGHUP ends nothing.
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
