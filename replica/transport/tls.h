// TLS 1.3 over bytes that somebody else carries; wraps OpenSSL. Both ends show a certificate of one
// authority. The end that asks requires the daemon's certificate. The end that answers lets a peer
// without a certificate in as well, as a stranger, and tells who it is.
#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <string>
#include <string_view>

#include "meta/base/result.h"
#include "replica/transport/credentials.h"

namespace tandem::replica {

enum class TlsSide { kAsking, kAnswering };

// What all connections with the same credentials share. Never changes: any thread may use it.
class TlsContext {
 public:
  // Returns kUsage if the credentials do not belong together or cannot be parsed.
  static Result<std::shared_ptr<const TlsContext>> Make(TlsSide side,
                                                        const Credentials& credentials);
  TlsContext(const TlsContext&) = delete;
  ~TlsContext();

 private:
  friend class TlsSession;
  explicit TlsContext(TlsSide side) : side_(side) {}
  Status Load(const Credentials& credentials);
  // Returns true if the authority signed the certificate for a peer of this side.
  bool IsSigned(X509* certificate, STACK_OF(X509) * shown) const;
  static int Verify(X509_STORE_CTX* shown, void* context);

  const TlsSide side_;
  SSL_CTX* context_ = nullptr;
  X509* authority_ = nullptr;
  std::string authority_digest_;
};

// One connection. One thread at a time.
class TlsSession {
 public:
  static Result<std::unique_ptr<TlsSession>> Begin(std::shared_ptr<const TlsContext> context);
  TlsSession(const TlsSession&) = delete;
  ~TlsSession();

  // Takes bytes that came from the peer. They must live until Handshake or Read has asked for more,
  // and Take may not be called before that.
  Status Take(const char* bytes, size_t size);
  // Goes on with the handshake. Returns true when it is complete. An error says, for people, what
  // the other end fails to prove or does not speak.
  Result<bool> Handshake();
  // Reads what the peer said. Returns 0 if more bytes have to be taken first.
  Result<size_t> Read(char* to, size_t size);
  Status Write(const char* bytes, size_t size);
  // Appends what has to be carried to the peer.
  void MoveOutputTo(std::string& output);

  // Valid once the handshake is complete. See PeerIdentity.
  bool is_verified() const { return verified_; }
  std::string PeerKey() const;
  std::string PeerName() const;

 private:
  friend class TlsContext;
  TlsSession(std::shared_ptr<const TlsContext> context, SSL* ssl)
      : context_(std::move(context)), ssl_(ssl) {}
  Error WhyNot(const char* what) const;

  const std::shared_ptr<const TlsContext> context_;
  SSL* const ssl_;
  bool verified_ = false;
  bool shown_another_ = false;  // the peer's certificate is not of the authority
};

}  // namespace tandem::replica
