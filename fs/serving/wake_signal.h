// A signal that interrupts a system call and does nothing else, for threads that are to end.
#pragma once

namespace tandem::fs {

int WakeSignal();
// Called before any thread is sent the signal.
void InstallWakeSignal();

}  // namespace tandem::fs
