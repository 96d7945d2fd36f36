// The numbers that replica/transport was tuned with. They can be changed without breaking anything
// but how soon trouble shows and how much of it is borne. CONNECTIONS.md tells where each counts.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace tandem::replica {

// ---- Both sides: channel.h ----------------------------------------------------------------------

// From the connection to the end of the greetings: of the side that asks (a socket of this host may
// lead to ssh, which connects meanwhile), and of the side that answers.
inline constexpr std::chrono::milliseconds kAskingGreetingTimeout{5000};
inline constexpr std::chrono::milliseconds kAskingHereGreetingTimeout{15'000};
inline constexpr std::chrono::milliseconds kGreetingTimeout{10'000};
// A message of a peer that may only enrol has at most so many bytes.
inline constexpr size_t kMaxStrangerBytes = 64 << 10;
// Without a byte in the middle of a frame, in either direction.
inline constexpr std::chrono::milliseconds kFrameTimeout{30'000};

// ---- Dialing: request.cc ------------------------------------------------------------------------

// How long an attempt to connect may take. The kernel repeats its own ever more seldom.
inline constexpr std::chrono::milliseconds kDialTimeout{3000};
// Pause between attempts: at first, and at most.
inline constexpr std::chrono::milliseconds kRedialFirst{100};
inline constexpr std::chrono::milliseconds kRedialLast{2000};
inline constexpr std::chrono::milliseconds kRedialHereLast{500};
// A thread that waits for an answer looks after the connection so often.
inline constexpr std::chrono::milliseconds kLookAfterLine{1000};
// An answer that does not come for so long is due: from then on nothing heard is a silence.
inline constexpr std::chrono::milliseconds kAnswerIsDue{1900};
// Where nothing was heard for so long, a sign of life is asked for.
inline constexpr std::chrono::milliseconds kAskAfterSilence{2500};
// If it does not come for so long, it is asked for once more.
inline constexpr std::chrono::milliseconds kSignOfLifeIsLost{5000};
// A connection that has been silent for so long is taken for dead by status.
inline constexpr std::chrono::milliseconds kLinkQuiet{4000};
// When the connection has been silent for so long, another is tried, and again after the pause. The
// kernel sends again ever more seldom what got lost, so a connection may stay silent for as long
// again as the network was away.
inline constexpr std::chrono::milliseconds kTryAnotherAfter{4000};
inline constexpr std::chrono::milliseconds kTryAnotherPause{1000};
// A connection on which nothing makes progress for this long is given up.
inline constexpr std::chrono::milliseconds kConnectionSilence{5000};
// Requests of up to so many bytes are sent again all at once over a new connection.
inline constexpr size_t kSentAgainAtOnce = 4096;
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
// One peer may occupy three quarters of the workers, if there are at least so many.
inline constexpr int kWorkersToShare = 64;
// Connections in all, and those that have not been greeted yet or whose peer may only enrol. One
// more, and the one of them that has been silent for longest ends, of the address that has most.
inline constexpr size_t kMaxConnections = 2048;
inline constexpr size_t kMaxUnproved = 128;
// Requests of one connection that wait or are being answered. A source has ten at most.
inline constexpr int kMaxRequestsOfOne = 32;
// Answers of one connection that its peer has not taken.
inline constexpr size_t kMaxUnsentOfOne = size_t{8} << 20;
// Those of all connections of one peer: beyond the first limit none of its requests is begun; an
// answer of one that had begun, and that comes beyond the second, ends its connection.
inline constexpr size_t kMaxUnsentOfPeer = size_t{32} << 20;
inline constexpr size_t kMostUnsentOfPeer = 2 * kMaxUnsentOfPeer;
// Frames that arrive, wait or are being answered, of all connections.
inline constexpr size_t kMaxFrameBytes = size_t{64} << 20;
// Those of one peer: a key, a user, an address.
inline constexpr size_t kMaxFrameBytesOfOne = kMaxFrameBytes / 2;
// Beyond that limit, frames that got no byte for this long are given up.
inline constexpr std::chrono::milliseconds kStaleFrame{500};
// How often ended connections are cleared away, and what waits for memory is looked at.
inline constexpr std::chrono::milliseconds kSweepEvery{200};

}  // namespace tandem::replica
