// One end of a local stream socket that carries messages: the length in four bytes, little endian,
// then as many bytes. Nothing here waits beyond its deadline, whatever the other side does.
//
// One thread at a time. The message given to Send must live until it returns.
#pragma once

#include <sys/un.h>

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>

#include "meta/base/result.h"
#include "meta/base/unique_fd.h"

namespace tandem::tools {

// What an answer may have at most: a list of the files a mount holds takes megabytes.
inline constexpr size_t kMaxAnswerBytes = 64 << 20;

class UnixConnection {
 public:
  using Clock = std::chrono::steady_clock;

  // `fd` must not block. Once `stop_fd` is readable nothing waits any more; -1: there is none.
  explicit UnixConnection(UniqueFd fd, int stop_fd = -1) : fd_(std::move(fd)), stop_fd_(stop_fd) {}

  // Tries every 10 ms until the deadline while nobody listens, or too many wait to be accepted.
  static Result<UnixConnection> Connect(const std::string& path, Clock::time_point deadline);

  // All fail with kUnreachable at the deadline or if the other side has gone, and with kCancelled
  // where they would wait after the stop. What can be sent without waiting is sent nevertheless.
  Status Send(std::string_view message, Clock::time_point deadline);
  // kProtocol if the message is longer than `max_bytes`.
  Result<std::string> Receive(size_t max_bytes, Clock::time_point deadline);

  // Whether the other side has closed its end.
  bool IsGone() const;

 private:
  Status SendBytes(std::string_view bytes, Clock::time_point deadline);
  Status ReceiveBytes(char* bytes, size_t size, Clock::time_point deadline);
  Status WaitFor(short events, Clock::time_point deadline) const;

  UniqueFd fd_;
  int stop_fd_;
};

// kUsage if a socket's name cannot be so long.
Result<sockaddr_un> UnixAddress(const std::string& path);

}  // namespace tandem::tools
