// The part that both sides of the transport share. nng's codes become Error here.
#include "replica/transport/transport.h"

#include <atomic>
#include <chrono>
#include <cstring>
#include <future>
#include <system_error>
#include <thread>

#include "meta/base/log.h"
#include "replica/transport/nng_handles.h"

namespace tandem::replica {
namespace {

std::atomic<bool> g_nng_is_stuck{false};

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

void CloseSocket(nng_socket socket, const std::shared_ptr<void>& keep) {
  std::packaged_task<void()> close([socket, keep] { nng_close(socket); });
  const std::future<void> closed = close.get_future();
  std::thread thread;
  try {
    thread = std::thread(std::move(close));
  } catch (const std::system_error&) {  // no thread can be made: close without a limit
    nng_close(socket);
    return;
  }
  if (closed.wait_for(std::chrono::seconds(2)) == std::future_status::ready) {
    thread.join();
  } else {
    LogWarning("nng does not close a socket; it is left open (a known bug of nng before 1.6)");
    g_nng_is_stuck = true;
    thread.detach();
  }
}

bool NngIsStuck() { return g_nng_is_stuck; }

Result<NngMessage> NngMessage::From(std::string_view bytes) {
  nng_msg* message = nullptr;
  if (const int code = nng_msg_alloc(&message, bytes.size()); code != 0) {
    return NngError(code, "allocate a message");
  }
  std::memcpy(nng_msg_body(message), bytes.data(), bytes.size());
  return NngMessage(message);
}

}  // namespace tandem::replica
