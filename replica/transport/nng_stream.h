// RAII wrappers for nng's byte streams, and the mapping of nng's codes to Error. Only this folder
// includes it. NngError may be called from any thread; a wrapper belongs to its owner.
#pragma once

#include <nng/nng.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <utility>

#include "meta/base/result.h"

namespace tandem::replica {

ErrorKind KindOfNng(int code);
tl::unexpected<Error> NngError(int code, std::string what);

// An asynchronous operation of nng, one at a time. nng calls the callback on a thread of its own
// when the operation has ended, with whatever result.
class NngAio {
 public:
  NngAio() = default;
  NngAio(NngAio&&) = delete;
  // Waits for a running callback, and prevents further calls of it.
  ~NngAio() {
    if (handle == nullptr) return;
    nng_aio_stop(handle);
    nng_aio_free(handle);
  }
  int Open(void (*callback)(void*), void* argument) {
    return nng_aio_alloc(&handle, callback, argument);
  }
  // At least 1: to nng 0 means "poll", and negative numbers have special meanings.
  void SetTimeout(std::chrono::milliseconds timeout) {
    nng_aio_set_timeout(handle, static_cast<nng_duration>(std::max<int64_t>(1, timeout.count())));
  }

  nng_aio* handle = nullptr;
};

class NngStream {
 public:
  NngStream() = default;
  explicit NngStream(void* stream) : handle(static_cast<nng_stream*>(stream)) {}
  NngStream(NngStream&& other) noexcept : handle(std::exchange(other.handle, nullptr)) {}
  NngStream& operator=(NngStream&& other) noexcept {
    std::swap(handle, other.handle);
    return *this;
  }
  // Requires that no operation is under way.
  ~NngStream() {
    if (handle != nullptr) nng_stream_free(handle);
  }

  nng_stream* handle = nullptr;
};

}  // namespace tandem::replica
