#include "tests/programs/lib/bus_guard.h"

#include <setjmp.h>
#include <signal.h>

#include <atomic>
#include <cstring>

namespace tandem::programs {
namespace {

thread_local sigjmp_buf* landing = nullptr;

void OnBusError(int signal_number) {
  if (landing) siglongjmp(*landing, 1);
  signal(signal_number, SIG_DFL);
  raise(signal_number);
}

}  // namespace

void InstallBusGuard() {
  struct sigaction action = {};
  action.sa_handler = OnBusError;
  sigaction(SIGBUS, &action, nullptr);
}

bool CopyGuarded(void* to, const void* from, size_t length) {
  sigjmp_buf here;
  if (sigsetjmp(here, /*savemask=*/1) != 0) {
    landing = nullptr;
    return false;
  }
  landing = &here;
  std::atomic_signal_fence(std::memory_order_seq_cst);
  std::memcpy(to, from, length);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  landing = nullptr;
  return true;
}

}  // namespace tandem::programs
