// The numbers that replica/transport was tuned with, in the units nng takes. They can be changed
// without breaking anything but how soon trouble shows.
#pragma once

#include <chrono>
#include <cstdint>

namespace tandem::replica {

// ---- Dialing: dial.h ----------------------------------------------------------------------------

// Pause between attempts to connect, in milliseconds: at first, at most, at most on this machine
// (what leads through ssh has pauses of its own), and at most while nng is stuck, since then it
// leaks a descriptor each attempt.
inline constexpr int32_t kReconnectFirstMs = 100;
inline constexpr int32_t kReconnectLastMs = 5000;
inline constexpr int32_t kReconnectLastHereMs = 500;
inline constexpr int32_t kReconnectLastIfStuckMs = 60'000;
// nng sends a request again when its connection ends. This timer only covers replies that are lost
// on an open connection, which REP does not do. If it were short, a slow link would carry every
// request twice.
inline constexpr int32_t kResendMs = 10 * 60 * 1000;
// A connection on which nothing makes progress for this long is given up.
inline constexpr std::chrono::milliseconds kConnectionSilence{5000};
// The peer must take in this many bytes of what is sent for the connection to count as alive. Small
// requests prove nothing: a proxy, or the kernel of a host whose tandemd is stuck, takes them in.
inline constexpr uint64_t kLeastProgressBytes = 4096;

// ---- Through ssh: ssh_tunnel.h
// -------------------------------------------------------------------

// Pause before ssh is started again: at first, at most, and at most if a person has to help.
inline constexpr std::chrono::seconds kSshPauseFirst{1};
inline constexpr std::chrono::seconds kSshPauseLongest{2};
inline constexpr std::chrono::seconds kSshPauseIfRefused{30};
// An ssh that has run for this long had a connection.
inline constexpr std::chrono::seconds kSshHasWorked{15};
// An ssh that is given up after this long has had no answer.
inline constexpr std::chrono::seconds kSshIsSilent{5};
// Pause after a connection could not be accepted (no descriptors).
inline constexpr std::chrono::seconds kAcceptPause{1};

// ---- Answering: reply.cc ------------------------------------------------------------------------

// Workers at the start; more are made while all of them are busy.
inline constexpr int kFirstWorkers = 2;
// A peer that does not read its answers occupies a worker for this long.
inline constexpr int32_t kReplyTimeoutMs = 30'000;

}  // namespace tandem::replica
