#include "fs/serving/wake_signal.h"

#include <csignal>

namespace tandem::fs {

int WakeSignal() { return SIGRTMIN; }

void InstallWakeSignal() {
  struct sigaction action = {};
  action.sa_handler = [](int) {};  // without SA_RESTART
  sigaction(WakeSignal(), &action, nullptr);
}

}  // namespace tandem::fs
