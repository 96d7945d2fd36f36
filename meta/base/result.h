// Errors as values. Every fallible function of the project returns Result<T>; nothing of ours
// throws. An Error carries what was tried and on what, so that the one place that finally reports
// it can say so in a sentence. Plain values: no thread rules.
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
  kCorrupt,      // something on disk is not what its format says
  kProtocol,     // a peer sent what the protocol does not allow
  kUnreachable,  // a peer does not answer
  kRefused,      // a peer answered, and said no
  kUsage,        // the caller (a person) asked for something that makes no sense
  kGivenUp,      // a cut was given up; the work is retried with the next one
  kCancelled,    // we are stopping
};

class [[nodiscard]] Error {
 public:
  Error(ErrorKind kind, int code, std::string context)
      : kind_(kind), code_(code), context_(std::move(context)) {}

  ErrorKind kind() const { return kind_; }
  // An errno value; EIO where the kind has no better one. Never 0.
  int code() const { return code_ != 0 ? code_ : EIO; }
  const std::string& context() const { return context_; }

  // "open /a/b: No such file or directory".
  std::string ToString() const;

  // Puts `outer` before the context: "apply cut 7: open x".
  Error Within(std::string_view outer) &&;

 private:
  ErrorKind kind_;
  int code_;
  std::string context_;
};

// The disk, or what we may have of it, is full: ENOSPC or EDQUOT.
bool MeansNoRoom(const Error& error);

template <typename T>
using Result = tl::expected<T, Error>;
using Status = Result<void>;

// The error of a system call that has just failed, with errno as it stands.
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

// ASSIGN_OR_RETURN(auto fd, OpenSomething());
#define ASSIGN_OR_RETURN(target, expression) \
  ASSIGN_OR_RETURN_IMPL(TANDEM_CONCAT(tandem_result_, __LINE__), target, expression)
#define ASSIGN_OR_RETURN_IMPL(result, target, expression)              \
  auto result = (expression);                                          \
  if (!result) [[unlikely]] {                                          \
    return tl::unexpected<::tandem::Error>(std::move(result.error())); \
  }                                                                    \
  target = std::move(*result)
