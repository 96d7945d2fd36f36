// The I/O priority of the calling thread. Any thread.
//
// The numbers are those of the kernel's uapi/linux/ioprio.h, which no longer compiles as C++ in
// some versions (it has a parameter called `class`).
#pragma once

#include <sys/syscall.h>
#include <unistd.h>

namespace tandem {

enum class IoPriority {
  kUsual,
  kIdle,  // takes of the disk what no other program wants
};

// Best effort: not every I/O scheduler knows priorities.
inline void SetIoPriority(IoPriority priority) {
  constexpr int kThisThread = 1;  // IOPRIO_WHO_PROCESS, with the id 0
  constexpr int kIdleClass = 3 << 13;
  (void)syscall(SYS_ioprio_set, kThisThread, 0, priority == IoPriority::kIdle ? kIdleClass : 0);
}

}  // namespace tandem
