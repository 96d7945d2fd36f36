// Errors as values. Every function of this project that can fail returns a Result<T>; none throws.
// An Error says what was tried and on which object, so that the one place that reports it can print
// a complete sentence. Plain values without thread rules.
#pragma once

#include <cerrno>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace tandem {

enum class ErrorKind {
  kSystem,       // a system call failed; `code` is its errno
  kDatabase,     // SQLite refused; `code` is the nearest errno (ENOSPC, EIO, ...)
  kCorrupt,      // something on disk violates its format
  kProtocol,     // a peer violated the protocol
  kUnreachable,  // a peer does not answer
  kRefused,      // a peer, or a check on this side, refused the request
  kUsage,        // the user asked for something that makes no sense
  kGivenUp,      // a cut was given up; the work is retried with the next one
  kCancelled,    // the program is stopping
};

class [[nodiscard]] Error {
 public:
  Error(ErrorKind kind, int code, std::string context)
      : kind_(kind), code_(code), context_(std::move(context)) {}

  ErrorKind kind() const { return kind_; }
  // Returns an errno value: EIO if there is no better one, never 0.
  int code() const { return code_ != 0 ? code_ : EIO; }
  const std::string& context() const { return context_; }

  // Returns a message such as "open /a/b: No such file or directory".
  std::string ToString() const;

  // Returns the error with `outer` before its context: "apply cut 7: open x".
  Error Within(std::string_view outer) &&;

 private:
  ErrorKind kind_;
  int code_;
  std::string context_;
};

// Returns whether the disk is full or the quota is used up: ENOSPC or EDQUOT.
bool MeansNoRoom(const Error& error);

template <typename T>
using Result = tl::expected<T, Error>;
using Status = Result<void>;

// Makes an error of errno. Call it right after the system call that failed.
inline tl::unexpected<Error> ErrnoError(std::string context) {
  return tl::unexpected<Error>(Error(ErrorKind::kSystem, errno, std::move(context)));
}
inline tl::unexpected<Error> ErrnoError(int code, std::string context) {
  return tl::unexpected<Error>(Error(ErrorKind::kSystem, code, std::move(context)));
}
inline tl::unexpected<Error> MakeError(ErrorKind kind, std::string context, int code = 0) {
  return tl::unexpected<Error>(Error(kind, code, std::move(context)));
}

}  // namespace tandem

#define TANDEM_CONCAT_INNER(a, b) a##b
#define TANDEM_CONCAT(a, b) TANDEM_CONCAT_INNER(a, b)

// Returns the error of a Status or Result expression from the enclosing function.
#define RETURN_IF_ERROR(expression) \
  RETURN_IF_ERROR_IMPL(TANDEM_CONCAT(tandem_status_, __LINE__), expression)
#define RETURN_IF_ERROR_IMPL(status, expression)                         \
  do {                                                                   \
    if (auto status = (expression); !status) [[unlikely]] {              \
      return tl::unexpected<::tandem::Error>(std::move(status.error())); \
    }                                                                    \
  } while (false)

// Assigns the value of a Result, or returns its error from the enclosing function:
//   ASSIGN_OR_RETURN(auto fd, OpenSomething());
#define ASSIGN_OR_RETURN(target, expression) \
  ASSIGN_OR_RETURN_IMPL(TANDEM_CONCAT(tandem_result_, __LINE__), target, expression)
#define ASSIGN_OR_RETURN_IMPL(result, target, expression)              \
  auto result = (expression);                                          \
  if (!result) [[unlikely]] {                                          \
    return tl::unexpected<::tandem::Error>(std::move(result.error())); \
  }                                                                    \
  target = std::move(*result)
