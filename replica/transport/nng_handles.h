// RAII wrappers for nng's handles, and the mapping of nng's codes to Error. Only this folder
// includes it. NngError and CloseSocket may be called from any thread; a wrapper belongs to its
// owner.
#pragma once

#include <nng/nng.h>

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "meta/base/result.h"

namespace tandem::replica {

ErrorKind KindOfNng(int code);
tl::unexpected<Error> NngError(int code, std::string what);

// Calls nng_close, but waits at most two seconds. Before nng 1.6, closing a connection at the
// moment at which part of a message arrives makes nng wait for that connection for ever (nng
// #1636). In that case a thread is left behind; `keep` lives as long as nng may still use it.
void CloseSocket(nng_socket socket, const std::shared_ptr<void>& keep);
// Returns true if that has happened in this process. From then on nng clears away no connection,
// and closes no descriptor of a connection that could not be made.
bool NngIsStuck();

class NngSocket {
 public:
  NngSocket() = default;
  NngSocket(NngSocket&&) = delete;
  // Requires that no call is under way on one of the socket's contexts, because nng 1.5 would then
  // lock a mutex that has been freed. End all calls first.
  ~NngSocket() {
    if (opened) CloseSocket(handle, keep);
  }

  nng_socket handle = NNG_SOCKET_INITIALIZER;
  bool opened = false;
  std::shared_ptr<void> keep;  // the state that nng's callbacks use
};

class NngContext {
 public:
  NngContext() = default;
  NngContext(NngContext&&) = delete;
  ~NngContext() {
    if (opened) nng_ctx_close(handle);
  }
  int Open(nng_socket socket) {
    const int code = nng_ctx_open(&handle, socket);
    opened = code == 0;
    return code;
  }

  nng_ctx handle = NNG_CTX_INITIALIZER;
  bool opened = false;
};

class NngAio {
 public:
  NngAio() = default;
  NngAio(NngAio&&) = delete;
  ~NngAio() { Free(); }
  int Open(void (*callback)(void*), void* argument) {
    return nng_aio_alloc(&handle, callback, argument);
  }
  // Waits for a running callback, and prevents further calls of it.
  void Free() {
    if (handle == nullptr) return;
    nng_aio_stop(handle);
    nng_aio_free(std::exchange(handle, nullptr));
  }

  nng_aio* handle = nullptr;
};

class NngMessage {
 public:
  NngMessage() = default;
  explicit NngMessage(nng_msg* message) : handle_(message) {}
  NngMessage(NngMessage&& other) noexcept : handle_(other.Release()) {}
  NngMessage& operator=(NngMessage&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~NngMessage() {
    if (handle_ != nullptr) nng_msg_free(handle_);
  }
  static Result<NngMessage> From(std::string_view bytes);

  std::string_view bytes() const {
    if (handle_ == nullptr) return {};
    return {static_cast<const char*>(nng_msg_body(handle_)), nng_msg_len(handle_)};
  }
  nng_msg* get() const { return handle_; }
  nng_msg* Release() { return std::exchange(handle_, nullptr); }

 private:
  nng_msg* handle_ = nullptr;
};

}  // namespace tandem::replica
