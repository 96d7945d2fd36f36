// A connection to a daemon as a hostile peer makes it: over tcp, ipc or tls, with every byte its
// own. It knows the frames of the SP protocol (a greeting of 8 bytes; then a 64-bit length, over
// ipc after a byte of 1, and a body that begins with a 32-bit request number), but keeps to
// nothing.
//
// One thread a connection. What the other side refuses is no error here: ok() becomes false.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "tests/programs/lib/fd.h"

struct ssl_st;
struct ssl_ctx_st;

namespace tandem::programs {

struct HostileTarget {
  std::string url;   // tcp://ADDRESS:PORT, ipc:///PATH or tls://ADDRESS:PORT
  std::string from;  // the own address of a tcp connection; any if empty
  int window = 0;    // how much the kernel takes in of what is not read; 0: as it likes
  // PEM files of the tls client: its certificate and those above it; none is shown if empty.
  std::string certificate;
  std::string key;
};

class HostileLink {
 public:
  static constexpr char kGreeting[] = {0, 'S', 'P', 0, 0, 0x30, 0, 0};  // REQ
  static constexpr size_t kGreetingBytes = sizeof kGreeting;

  // Connects; for tls also shakes hands. Not ok() if refused.
  explicit HostileLink(const HostileTarget& target);
  HostileLink(HostileLink&& other) noexcept = default;
  HostileLink& operator=(HostileLink&& other) noexcept = default;
  ~HostileLink();

  bool ok() const { return fd_.ok(); }
  int fd() const { return fd_.get(); }
  // The first message of a TLS handshake, for a connection that does the rest differently.
  static std::string ClientHello();

  // Looks whether the peer has closed it.
  bool Ended();
  // Waits for room; false if the connection has ended.
  bool Send(std::string_view bytes);
  // Sends what fits now. Returns how much that was.
  size_t SendSome(std::string_view bytes);
  // Greets and reads the peer's greeting.
  bool Greet();
  // Waits for a byte from the peer, or its end.
  bool HearsWithin(int ms) const;
  // Over tls: sends a request for new keys, which the peer has to answer. False if it does not fit
  // now.
  bool UpdateKeys();
  // The header of a frame that announces a body of so many bytes.
  std::string Header(uint64_t body_bytes) const;
  // The frame of a request.
  std::string Frame(std::string_view message);
  // Sends it and returns the answer without its request number; nothing if none has come in `ms`.
  std::optional<std::string> Ask(std::string_view message, int ms = 5000);

 private:
  bool ReadAll(char* bytes, size_t size, int ms);
  bool ShakeHands(const HostileTarget& target);
  void Close();

  struct Free {
    void operator()(ssl_st* ssl) const;
    void operator()(ssl_ctx_st* context) const;
  };
  bool is_ipc_ = false;
  uint32_t number_ = 0x80000000;
  Fd fd_;
  std::unique_ptr<ssl_ctx_st, Free> context_;
  std::unique_ptr<ssl_st, Free> ssl_;
};

}  // namespace tandem::programs
