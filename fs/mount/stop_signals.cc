#include "fs/mount/stop_signals.h"

#include <pthread.h>

#include <initializer_list>

namespace tandem::fs {

StopSignals::StopSignals() {
  const sigset_t set = Set();
  pthread_sigmask(SIG_BLOCK, &set, &previous_);
  // A SIGHUP that is still pending when the mask is restored is ignored.
  ::signal(SIGHUP, SIG_IGN);
}

StopSignals::~StopSignals() { pthread_sigmask(SIG_SETMASK, &previous_, nullptr); }

sigset_t StopSignals::Set() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, signal);
  return set;
}

}  // namespace tandem::fs
