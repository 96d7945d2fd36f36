// Owners of nng's handles, and nng's codes as Error. Only this folder includes it.
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

// nng_close, but for at most two seconds: until nng 1.6, closing a connection at the instant a part
// of a message arrives leaves nng waiting for that connection for ever (nng #1636). A thread is
// then left behind; `keep` lives as long as nng may still use it.
void CloseSocket(nng_socket socket, const std::shared_ptr<void>& keep);
// Whether that has happened in this process. nng then clears away no connection any more, nor the
// descriptor of one that could not be made.
bool NngIsStuck();

class NngSocket {
 public:
  NngSocket() = default;
  NngSocket(NngSocket&&) = delete;
  // No call may be under way on one of the socket's contexts: nng 1.5 then locks a mutex that is
  // gone. End them first.
  ~NngSocket() {
    if (opened) CloseSocket(handle, keep);
  }

  nng_socket handle = NNG_SOCKET_INITIALIZER;
  bool opened = false;
  std::shared_ptr<void> keep;  // what nng's callbacks refer to
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
  // Waits for the callback, and keeps it from being called again.
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
