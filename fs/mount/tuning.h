// The numbers that fs/mount was tuned with. They can be changed without breaking anything but speed
// and memory use.
#pragma once

#include <chrono>

namespace tandem::fs {

// max_threads unless -o says otherwise. Blocking requests do not count among them.
inline constexpr unsigned kDefaultThreads = 16;
// max_threads at least: with one, a request that waits for a commit would hold up all others.
inline constexpr unsigned kMinThreads = 2;

// How long an end waits, unless --stop-timeout says otherwise, for the kernel's cached writes.
inline constexpr std::chrono::seconds kDefaultStopTimeout{30};
// How long the one pass over open files after that time may take.
inline constexpr std::chrono::seconds kLastFlush{5};

}  // namespace tandem::fs
