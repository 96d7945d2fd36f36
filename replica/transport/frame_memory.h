// The memory for frames that arrive, wait or are being answered: kMaxFrameBytes for all connections
// of a ReplySocket, kMaxFrameBytesOfOne for those of one peer (CONNECTIONS.md). A connection that
// would exceed them is not read from until some of it is free.
//
// Guarded by the mutex of the socket whose guests they are.
#pragma once

#include <cstddef>
#include <string>
#include <unordered_map>
#include <vector>

#include "replica/transport/guest.h"

namespace tandem::replica {

class FrameMemory {
 public:
  // Counts bytes that have arrived. Returns false if memory is short: the guest then waits until
  // ChooseToResume returns it.
  bool Take(Guest& guest, size_t bytes);
  void Release(Guest& guest, size_t bytes);

  // Returns the guests that need not wait any more: those whose peer has memory again, and of each
  // peer whose frames all wait, the one whose frame is nearest to being complete.
  std::vector<GuestRef> ChooseToResume(const Guests& guests);
  // Returns the guests to be ended where memory is short: those whose frames do not get on, the
  // stalest first, until half of the memory would be free.
  std::vector<GuestRef> ChooseToEnd(const Guests& guests, Guest::Clock::time_point now) const;

 private:
  bool IsShortFor(const Guest& guest) const;

  size_t all_ = 0;
  std::unordered_map<std::string, size_t> of_peers_;  // by Guest::identity
};

}  // namespace tandem::replica
