#include "replica/transport/certificates_pem.h"

#include <openssl/err.h>
#include <openssl/pem.h>

namespace tandem::replica {
namespace {

using Bio = std::unique_ptr<BIO, CryptoFreer<BIO_free_all>>;

// libcrypto would otherwise ask for a password on the terminal.
int NoPassword(char*, int, int, void*) { return -1; }

Bio Reading(const std::string& text) {
  return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

// Writes with `write`, which takes a BIO and returns 1 if it succeeds.
Result<std::string> Written(const std::string& what, const BIO_METHOD* memory, auto write) {
  const Bio bio(BIO_new(memory));
  if (!bio || write(bio.get()) != 1) return CryptoError("write " + what);
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return std::string(data, static_cast<size_t>(size));
}

}  // namespace

tl::unexpected<Error> CryptoError(const std::string& what) {
  const char* const reason = ERR_reason_error_string(ERR_peek_last_error());
  ERR_clear_error();
  return MakeError(ErrorKind::kSystem,
                   what + " (" + (reason != nullptr ? reason : "libcrypto") + ")", EIO);
}

tl::unexpected<Error> NotA(const std::string& what) {
  ERR_clear_error();
  return MakeError(ErrorKind::kCorrupt, "read " + what + " (it is none, or it is damaged)",
                   EBADMSG);
}

Result<Key> ReadKey(const std::string& text) {
  const Bio bio = Reading(text);
  Key key(bio ? PEM_read_bio_PrivateKey(bio.get(), nullptr, NoPassword, nullptr) : nullptr);
  if (!key) return NotA("private key");
  return key;
}

Result<Certificate> ReadCertificate(const std::string& text) {
  const Bio bio = Reading(text);
  Certificate certificate(bio ? PEM_read_bio_X509(bio.get(), nullptr, NoPassword, nullptr)
                              : nullptr);
  if (!certificate) return NotA("certificate");
  return certificate;
}

Result<CertificateRequest> ReadRequest(const std::string& text) {
  const Bio bio = Reading(text);
  CertificateRequest request(bio ? PEM_read_bio_X509_REQ(bio.get(), nullptr, NoPassword, nullptr)
                                 : nullptr);
  if (!request) return NotA("certificate request");
  return request;
}

// BIO_s_secmem wipes what it has held.
Result<std::string> ToPem(const Key& key) {
  return Written("private key", BIO_s_secmem(), [&key](BIO* bio) {
    return PEM_write_bio_PKCS8PrivateKey(bio, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  });
}

Result<std::string> ToPem(const Certificate& certificate) {
  return Written("certificate", BIO_s_mem(),
                 [&](BIO* bio) { return PEM_write_bio_X509(bio, certificate.get()); });
}

Result<std::string> ToPem(const CertificateRequest& request) {
  return Written("certificate request", BIO_s_mem(),
                 [&](BIO* bio) { return PEM_write_bio_X509_REQ(bio, request.get()); });
}

}  // namespace tandem::replica
