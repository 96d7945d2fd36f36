// One end of a local stream socket that carries messages: the length in four bytes, little endian,
// then as many bytes. No call waits beyond its deadline, whatever the peer does.
//
// Used by one thread at a time. The message given to Send must live until it returns.
#pragma once

#include <sys/un.h>

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>

#include "meta/base/result.h"
#include "meta/base/unique_fd.h"

namespace tandem::tools {

// Bytes of an answer at most: a list of the files open for writing takes megabytes.
inline constexpr size_t kMaxAnswerBytes = 64 << 20;

class UnixConnection {
 public:
  using Clock = std::chrono::steady_clock;

  // `fd` must be non-blocking. Once `stop_fd` is readable, calls fail instead of waiting; -1: none.
  explicit UnixConnection(UniqueFd fd, int stop_fd = -1) : fd_(std::move(fd)), stop_fd_(stop_fd) {}

  // Tries every 10 ms until the deadline while nothing listens or the backlog is full.
  static Result<UnixConnection> Connect(const std::string& path, Clock::time_point deadline);

  // Send and Receive fail with kUnreachable at the deadline or if the peer has closed, and with
  // kCancelled if they would wait after the stop. What can be sent without waiting is still sent.
  Status Send(std::string_view message, Clock::time_point deadline);
  // Fails with kProtocol if the message is longer than `max_bytes`.
  Result<std::string> Receive(size_t max_bytes, Clock::time_point deadline);

  // Returns whether the peer has closed its end.
  bool IsGone() const;

 private:
  Status SendBytes(std::string_view bytes, Clock::time_point deadline);
  Status ReceiveBytes(char* bytes, size_t size, Clock::time_point deadline);
  Status WaitFor(short events, Clock::time_point deadline) const;

  UniqueFd fd_;
  int stop_fd_;
};

// Fails with kUsage if the path is too long for a socket.
Result<sockaddr_un> UnixAddress(const std::string& path);

}  // namespace tandem::tools
