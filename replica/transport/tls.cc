#include "replica/transport/tls.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include <algorithm>

#include "replica/transport/certificates.h"
#include "replica/transport/certificates_pem.h"

namespace tandem::replica {
namespace {

// A chain of two certificates of elliptic-curve keys has less than a tenth of it.
constexpr long kMaxCertificateBytes = 16 << 10;

std::string LastError() {
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  const char* reason = code != 0 ? ERR_reason_error_string(code) : nullptr;
  return reason != nullptr ? reason : "no reason given";
}

// What cannot be read, whose error says why.
tl::unexpected<Error> Unreadable(const char* whose, const Error& error) {
  return MakeError(ErrorKind::kUsage, std::string(whose) + ": " + error.ToString(), EINVAL);
}

tl::unexpected<Error> TlsError(const std::string& what) {
  return MakeError(ErrorKind::kUsage, what + " (" + LastError() + ")", EINVAL);
}

// Frees `der`.
std::string DigestOfDer(unsigned char* der, int size) {
  std::string digest;
  if (size > 0) {
    digest = Sha256Hex({reinterpret_cast<const char*>(der), static_cast<size_t>(size)});
  }
  OPENSSL_free(der);
  return digest;
}

std::string DigestOfCertificate(X509* certificate) {
  unsigned char* der = nullptr;
  const int size = i2d_X509(certificate, &der);
  return DigestOfDer(der, size);
}

std::string CommonNameOf(X509* certificate) {
  X509_NAME* const name = X509_get_subject_name(certificate);
  const int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
  if (at < 0) return "";
  const ASN1_STRING* text = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at));
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
          static_cast<size_t>(ASN1_STRING_length(text))};
}

}  // namespace

// ---- TlsContext --------------------------------------------------------------------------------

Result<std::shared_ptr<const TlsContext>> TlsContext::Make(TlsSide side,
                                                           const Credentials& credentials) {
  std::shared_ptr<TlsContext> context(new TlsContext(side));
  RETURN_IF_ERROR(context->Load(credentials));
  return context;
}

TlsContext::~TlsContext() {
  SSL_CTX_free(context_);
  X509_free(authority_);
}

Status TlsContext::Load(const Credentials& credentials) {
  context_ = SSL_CTX_new(side_ == TlsSide::kAsking ? TLS_client_method() : TLS_server_method());
  if (context_ == nullptr) return TlsError("set up TLS");
  SSL_CTX_set_min_proto_version(context_, TLS1_3_VERSION);
  SSL_CTX_set_ciphersuites(context_,
                           "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:"
                           "TLS_CHACHA20_POLY1305_SHA256");
  // A peer whose processor has no AES instructions asks for ChaCha20 first, and gets it.
  SSL_CTX_set_options(context_, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA |
                                    SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
  // A resumed session would not be verified again.
  SSL_CTX_set_num_tickets(context_, 0);
  SSL_CTX_set_session_cache_mode(context_, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_mode(context_, SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_max_cert_list(context_, kMaxCertificateBytes);
  SSL_CTX_set_verify(context_, SSL_VERIFY_PEER, nullptr);
  SSL_CTX_set_cert_verify_callback(context_, &TlsContext::Verify, this);

  authority_digest_ = credentials.authority_digest;
  if (!credentials.authority.empty()) {
    auto authority = ReadCertificate(credentials.authority);
    if (!authority) return Unreadable("the authority's", authority.error());
    authority_ = authority->release();
  } else if (authority_digest_.empty()) {
    return MakeError(ErrorKind::kUsage, "set up TLS (no authority is known)", EINVAL);
  }
  if (credentials.certificate.empty()) return {};
  const auto own = ReadCertificate(credentials.certificate);
  if (!own) return Unreadable("this host's", own.error());
  if (SSL_CTX_use_certificate(context_, own->get()) != 1) {
    return TlsError("use this host's certificate");
  }
  const auto key = ReadKey(credentials.private_key);
  if (!key) return Unreadable("this host's", key.error());
  if (SSL_CTX_use_PrivateKey(context_, key->get()) != 1) {
    return TlsError("use this host's private key");
  }
  if (SSL_CTX_check_private_key(context_) != 1) {
    return TlsError("use this host's certificate with its private key");
  }
  // A peer that knows only its digest needs the certificate.
  if (side_ == TlsSide::kAnswering && authority_ != nullptr &&
      SSL_CTX_add1_chain_cert(context_, authority_) != 1) {
    return TlsError("show the certificate of the authority");
  }
  return {};
}

bool TlsContext::IsSigned(X509* certificate, STACK_OF(X509) * shown) const {
  X509* authority = authority_;
  for (int i = 0; authority == nullptr && i < sk_X509_num(shown); ++i) {
    X509* const candidate = sk_X509_value(shown, i);
    if (DigestOfCertificate(candidate) == authority_digest_) authority = candidate;
  }
  if (authority == nullptr || certificate == nullptr) return false;
  const std::unique_ptr<X509_STORE, CryptoFreer<X509_STORE_free>> trusted(X509_STORE_new());
  const std::unique_ptr<X509_STORE_CTX, CryptoFreer<X509_STORE_CTX_free>> check(
      X509_STORE_CTX_new());
  if (trusted == nullptr || check == nullptr ||
      X509_STORE_add_cert(trusted.get(), authority) != 1 ||
      X509_STORE_CTX_init(check.get(), trusted.get(), certificate, nullptr) != 1) {
    return false;
  }
  const bool asking = side_ == TlsSide::kAsking;
  X509_STORE_CTX_set_purpose(check.get(),
                             asking ? X509_PURPOSE_SSL_SERVER : X509_PURPOSE_SSL_CLIENT);
  // Clocks are wrong at times. What has to end is revoked.
  X509_STORE_CTX_set_flags(check.get(), X509_V_FLAG_NO_CHECK_TIME);
  X509_STORE_CTX_set_depth(check.get(), 0);  // no certificate between the two
  if (X509_verify_cert(check.get()) != 1) return false;
  return (CommonNameOf(certificate) == kDaemonName) == asking;
}

// Called by OpenSSL with the certificates that the peer showed.
int TlsContext::Verify(X509_STORE_CTX* shown, void* context) {
  const auto& self = *static_cast<const TlsContext*>(context);
  auto* const ssl =
      static_cast<SSL*>(X509_STORE_CTX_get_ex_data(shown, SSL_get_ex_data_X509_STORE_CTX_idx()));
  auto* const session = static_cast<TlsSession*>(SSL_get_app_data(ssl));
  session->verified_ =
      self.IsSigned(X509_STORE_CTX_get0_cert(shown), X509_STORE_CTX_get0_untrusted(shown));
  session->shown_another_ = !session->verified_;
  ERR_clear_error();
  if (session->verified_ || self.side_ == TlsSide::kAnswering) return 1;
  X509_STORE_CTX_set_error(shown, X509_V_ERR_APPLICATION_VERIFICATION);
  return 0;
}

// ---- TlsSession --------------------------------------------------------------------------------

Result<std::unique_ptr<TlsSession>> TlsSession::Begin(std::shared_ptr<const TlsContext> context) {
  SSL* const ssl = SSL_new(context->context_);
  BIO* const in = BIO_new(BIO_s_mem());
  BIO* const out = BIO_new(BIO_s_mem());
  if (ssl == nullptr || in == nullptr || out == nullptr) {
    SSL_free(ssl);
    BIO_free(in);
    BIO_free(out);
    return MakeError(ErrorKind::kSystem, "begin a TLS connection", ENOMEM);
  }
  // No bytes: come again, rather than the end.
  BIO_set_mem_eof_return(in, -1);
  SSL_set_bio(ssl, in, out);
  if (context->side_ == TlsSide::kAsking) {
    SSL_set_connect_state(ssl);
  } else {
    SSL_set_accept_state(ssl);
  }
  std::unique_ptr<TlsSession> session(new TlsSession(std::move(context), ssl));
  SSL_set_app_data(ssl, session.get());
  return session;
}

TlsSession::~TlsSession() { SSL_free(ssl_); }

Error TlsSession::WhyNot(const char* what) const {
  if (shown_another_) {
    return Error(ErrorKind::kRefused, EACCES,
                 "its certificate is not the one this host was paired with: either something on "
                 "the way pretends to be that host, or the host has been set up anew (then invite "
                 "this host again)");
  }
  return Error(ErrorKind::kUnreachable, EPROTO, std::string(what) + " (" + LastError() + ")");
}

// A BIO that copied them would keep as much memory as it ever held.
Status TlsSession::Take(const char* bytes, size_t size) {
  BIO* const in = BIO_new_mem_buf(bytes, static_cast<int>(size));
  if (in == nullptr) return MakeError(ErrorKind::kSystem, "take in a TLS record", ENOMEM);
  BIO_set_mem_eof_return(in, -1);
  SSL_set0_rbio(ssl_, in);
  return {};
}

Result<bool> TlsSession::Handshake() {
  ERR_clear_error();
  const int result = SSL_do_handshake(ssl_);
  if (result == 1) return true;
  if (SSL_get_error(ssl_, result) == SSL_ERROR_WANT_READ) return false;
  return tl::unexpected<Error>(WhyNot("the TLS handshake failed"));
}

Result<size_t> TlsSession::Read(char* to, size_t size) {
  ERR_clear_error();
  size_t got = 0;
  const int result = SSL_read_ex(ssl_, to, size, &got);
  if (result == 1) return got;
  const int code = SSL_get_error(ssl_, result);
  if (code == SSL_ERROR_WANT_READ) return 0;
  if (code == SSL_ERROR_ZERO_RETURN) {
    return MakeError(ErrorKind::kUnreachable, "the peer ended the connection", ECONNRESET);
  }
  return tl::unexpected<Error>(WhyNot("a TLS record cannot be read"));
}

Status TlsSession::Write(const char* bytes, size_t size) {
  ERR_clear_error();
  size_t written = 0;
  const int result = SSL_write_ex(ssl_, bytes, size, &written);
  if (result == 1 && written == size) return {};
  return tl::unexpected<Error>(WhyNot("a TLS record cannot be written"));
}

void TlsSession::MoveOutputTo(std::string& output) {
  BIO* const out = SSL_get_wbio(ssl_);
  const size_t waiting = BIO_ctrl_pending(out);
  if (waiting == 0) return;
  const size_t before = output.size();
  output.resize(before + waiting);
  const int got = BIO_read(out, output.data() + before, static_cast<int>(waiting));
  output.resize(before + static_cast<size_t>(std::max(got, 0)));
}

std::string TlsSession::PeerKey() const {
  X509* const certificate = SSL_get0_peer_certificate(ssl_);
  if (certificate == nullptr) return "";
  unsigned char* der = nullptr;
  const int size = i2d_PUBKEY(X509_get0_pubkey(certificate), &der);
  return DigestOfDer(der, size);
}

std::string TlsSession::PeerName() const {
  X509* const certificate = SSL_get0_peer_certificate(ssl_);
  return certificate != nullptr ? CommonNameOf(certificate) : "";
}

}  // namespace tandem::replica
