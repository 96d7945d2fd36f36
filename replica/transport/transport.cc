// The part that both sides of the transport share. nng's codes become Error here.
#include "replica/transport/transport.h"

#include "replica/transport/nng_stream.h"

namespace tandem::replica {
namespace {

int ErrnoOfNng(int code) {
  if ((code & NNG_ESYSERR) != 0) return code & ~NNG_ESYSERR;
  switch (code) {
    case NNG_ETIMEDOUT:
      return ETIMEDOUT;
    case NNG_ECLOSED:
    case NNG_ECANCELED:
      return ECANCELED;
    case NNG_ECONNREFUSED:
      return ECONNREFUSED;
    case NNG_EADDRINUSE:
      return EADDRINUSE;
    case NNG_ENOMEM:
      return ENOMEM;
    case NNG_EPERM:
      return EACCES;
    case NNG_EADDRINVAL:
    case NNG_EINVAL:
    case NNG_ENOTSUP:
      return EINVAL;
    case NNG_EMSGSIZE:
      return EMSGSIZE;
    default:
      return EIO;
  }
}

}  // namespace

ErrorKind KindOfNng(int code) {
  switch (code) {
    case NNG_ECLOSED:
    case NNG_ECANCELED:
      return ErrorKind::kCancelled;
    case NNG_EADDRINVAL:
    case NNG_EINVAL:
    case NNG_ENOTSUP:
      return ErrorKind::kUsage;
    case NNG_EADDRINUSE:
    case NNG_ENOMEM:
    case NNG_EPERM:
      return ErrorKind::kSystem;
    default:
      return ErrorKind::kUnreachable;
  }
}

tl::unexpected<Error> NngError(int code, std::string what) {
  return MakeError(KindOfNng(code), std::move(what) + " (" + nng_strerror(code) + ")",
                   ErrnoOfNng(code));
}

}  // namespace tandem::replica
