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
  // Every function below appends to `output` what has to be carried to the peer. `output` must
  // outlive the session.
  static Result<std::unique_ptr<TlsSession>> Begin(std::shared_ptr<const TlsContext> context,
                                                   std::string* output);
  TlsSession(const TlsSession&) = delete;
  ~TlsSession();

  // Takes bytes that came from the peer. They must stay until Handshake returns false or Read
  // returns 0: then all of them have been used.
  void Take(std::string_view bytes) { input_ = bytes; }
  // Goes on with the handshake. Returns true when it is complete. An error says, for people, what
  // the other end fails to prove or does not speak.
  Result<bool> Handshake();
  // Reads what the peer said, as much as there is and fits. Returns 0 if more bytes have to be
  // taken first.
  Result<size_t> Read(char* to, size_t size);
  Status Write(const char* bytes, size_t size);

  // Valid once the handshake is complete. See PeerIdentity.
  bool is_verified() const { return verified_; }
  std::string PeerKey() const;
  std::string PeerName() const;

 private:
  friend class TlsContext;
  TlsSession(std::shared_ptr<const TlsContext> context, SSL* ssl, std::string* output)
      : context_(std::move(context)), ssl_(ssl), output_(output) {}
  Error WhyNot(const char* what) const;
  // What OpenSSL reads and writes the records with: input_ and output_, without a copy between.
  static const BIO_METHOD* Records();
  static int ReadRecords(BIO* bio, char* to, size_t size, size_t* read);
  static int WriteRecords(BIO* bio, const char* from, size_t size, size_t* written);
  static long Control(BIO* bio, int command, long number, void* pointer);

  const std::shared_ptr<const TlsContext> context_;
  SSL* const ssl_;
  std::string_view input_;
  std::string* const output_;
  bool verified_ = false;
  bool shown_another_ = false;  // the peer's certificate is not of the authority
};

}  // namespace tandem::replica
