#include "replica/transport/certificates.h"

#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/rand.h>

#include "meta/base/hex.h"
#include "replica/transport/certificates_pem.h"
#include "replica/transport/credentials.h"

namespace tandem::replica {
namespace {

constexpr char kGroup[] = "P-256";
constexpr char kGroupInKeys[] = "prime256v1";
constexpr char kFirstDay[] = "20000101000000Z";
constexpr char kLastDay[] = "99991231235959Z";  // RFC 5280 4.1.2.5: no expiry
constexpr int kSerialBytes = 16;

// ---- Digests -----------------------------------------------------------------------------------

std::string DigestOf(const void* data, size_t size) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  EVP_Digest(data, size, digest, &length, EVP_sha256(), nullptr);
  return ToHex({reinterpret_cast<const char*>(digest), length});
}

Result<std::string> DigestOf(const EVP_PKEY* key) {
  unsigned char* der = nullptr;
  const int size = i2d_PUBKEY(key, &der);
  if (size <= 0) return CryptoError("encode public key");
  std::string digest = DigestOf(der, static_cast<size_t>(size));
  OPENSSL_free(der);
  return digest;
}

// ---- Certificates ------------------------------------------------------------------------------

Status SetNameAndTimes(X509* certificate, const std::string& name) {
  unsigned char serial[kSerialBytes];
  if (RAND_bytes(serial, sizeof serial) != 1) return CryptoError("draw a serial number");
  serial[0] = (serial[0] & 0x7f) | 0x40;  // positive, and always as long
  const BigNumber number(BN_bin2bn(serial, sizeof serial, nullptr));
  X509_NAME* const subject = X509_get_subject_name(certificate);
  const bool done =
      number && BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) != nullptr &&
      X509_set_version(certificate, X509_VERSION_3) == 1 &&
      ASN1_TIME_set_string_X509(X509_getm_notBefore(certificate), kFirstDay) == 1 &&
      ASN1_TIME_set_string_X509(X509_getm_notAfter(certificate), kLastDay) == 1 &&
      X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_UTF8,
                                 reinterpret_cast<const unsigned char*>(name.data()),
                                 static_cast<int>(name.size()), -1, 0) == 1;
  if (!done) return CryptoError("make certificate of \"" + name + "\"");
  return {};
}

Status Extend(X509* certificate, X509* issuer, int kind, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const CertificateExtension extension(X509V3_EXT_conf_nid(nullptr, &context, kind, value));
  if (!extension || X509_add_ext(certificate, extension.get(), -1) != 1) {
    return CryptoError(std::string("set certificate extension ") + value);
  }
  return {};
}

struct Purpose {
  const char* constraints;
  const char* usage;
  const char* extended_usage;  // null: any
};
constexpr Purpose kAuthority = {"critical,CA:TRUE,pathlen:0", "critical,keyCertSign", nullptr};
constexpr Purpose kServer = {"critical,CA:FALSE", "critical,digitalSignature", "serverAuth"};
constexpr Purpose kClient = {"critical,CA:FALSE", "critical,digitalSignature", "clientAuth"};

// Makes a certificate for `key`, signed by the issuer; by itself if `issuer` is null.
Result<std::string> Certify(EVP_PKEY* key, const std::string& name, const Purpose& purpose,
                            X509* issuer, EVP_PKEY* issuer_key) {
  const Certificate made(X509_new());
  if (!made) return CryptoError("make certificate");
  X509* const certificate = made.get();
  RETURN_IF_ERROR(SetNameAndTimes(certificate, name));
  if (issuer == nullptr) issuer = certificate;
  if (X509_set_issuer_name(certificate, X509_get_subject_name(issuer)) != 1 ||
      X509_set_pubkey(certificate, key) != 1) {
    return CryptoError("make certificate of \"" + name + "\"");
  }
  RETURN_IF_ERROR(Extend(certificate, issuer, NID_basic_constraints, purpose.constraints));
  RETURN_IF_ERROR(Extend(certificate, issuer, NID_key_usage, purpose.usage));
  if (purpose.extended_usage != nullptr) {
    RETURN_IF_ERROR(Extend(certificate, issuer, NID_ext_key_usage, purpose.extended_usage));
  }
  RETURN_IF_ERROR(Extend(certificate, issuer, NID_subject_key_identifier, "hash"));
  RETURN_IF_ERROR(Extend(certificate, issuer, NID_authority_key_identifier, "keyid:always"));
  if (X509_sign(certificate, issuer_key, EVP_sha256()) == 0) {
    return CryptoError("sign certificate of \"" + name + "\"");
  }
  return ToPem(made);
}

Result<std::string> CertifyBy(const KeyedCertificate& authority, EVP_PKEY* key,
                              const std::string& name, const Purpose& purpose) {
  ASSIGN_OR_RETURN(const Certificate issuer, ReadCertificate(authority.certificate));
  ASSIGN_OR_RETURN(const Key issuer_key, ReadKey(authority.private_key));
  return Certify(key, name, purpose, issuer.get(), issuer_key.get());
}

Result<Key> NewKey() {
  Key key(EVP_EC_gen(kGroup));
  if (!key) return CryptoError("make a key");
  return key;
}

Result<Key> CheckedKeyOf(const std::string& request) {
  ASSIGN_OR_RETURN(const CertificateRequest read, ReadRequest(request));
  Key key(X509_REQ_get_pubkey(read.get()));
  if (!key) return NotA("certificate request");
  char group[32] = "";
  if (EVP_PKEY_is_a(key.get(), "EC") != 1 ||
      EVP_PKEY_get_group_name(key.get(), group, sizeof group, nullptr) != 1 ||
      std::string(group) != kGroupInKeys) {
    return MakeError(ErrorKind::kCorrupt, "read certificate request (its key is not EC P-256)",
                     EBADMSG);
  }
  if (X509_REQ_verify(read.get(), key.get()) != 1) {
    ERR_clear_error();
    return MakeError(ErrorKind::kCorrupt,
                     "read certificate request (it is not signed with its own key)", EBADMSG);
  }
  return key;
}

}  // namespace

Result<KeyedCertificate> MakeAuthority() {
  ASSIGN_OR_RETURN(const Key key, NewKey());
  KeyedCertificate made;
  ASSIGN_OR_RETURN(made.private_key, ToPem(key));
  ASSIGN_OR_RETURN(const std::string mark, RandomBytes(4));
  ASSIGN_OR_RETURN(made.certificate, Certify(key.get(), "tandemd authority " + ToHex(mark),
                                             kAuthority, nullptr, key.get()));
  return made;
}

Result<KeyedCertificate> MakeDaemonCertificate(const KeyedCertificate& authority) {
  ASSIGN_OR_RETURN(const Key key, NewKey());
  KeyedCertificate made;
  ASSIGN_OR_RETURN(made.private_key, ToPem(key));
  ASSIGN_OR_RETURN(made.certificate, CertifyBy(authority, key.get(), kDaemonName, kServer));
  return made;
}

Result<std::string> MakePrivateKey() {
  ASSIGN_OR_RETURN(const Key key, NewKey());
  return ToPem(key);
}

Result<std::string> MakeCertificateRequest(const std::string& private_key) {
  ASSIGN_OR_RETURN(const Key key, ReadKey(private_key));
  const CertificateRequest request(X509_REQ_new());
  if (!request || X509_REQ_set_version(request.get(), X509_REQ_VERSION_1) != 1 ||
      X509_REQ_set_pubkey(request.get(), key.get()) != 1 ||
      X509_REQ_sign(request.get(), key.get(), EVP_sha256()) == 0) {
    return CryptoError("make certificate request");
  }
  return ToPem(request);
}

Result<std::string> KeyOfRequest(const std::string& request) {
  ASSIGN_OR_RETURN(const Key key, CheckedKeyOf(request));
  return DigestOf(key.get());
}

Result<std::string> SignRequest(const KeyedCertificate& authority, const std::string& request,
                                const std::string& name) {
  ASSIGN_OR_RETURN(const Key key, CheckedKeyOf(request));
  return CertifyBy(authority, key.get(), name, kClient);
}

Result<std::string> DigestOfCertificate(const std::string& certificate) {
  ASSIGN_OR_RETURN(const Certificate read, ReadCertificate(certificate));
  unsigned char* der = nullptr;
  const int size = i2d_X509(read.get(), &der);
  if (size <= 0) return CryptoError("encode certificate");
  std::string digest = DigestOf(der, static_cast<size_t>(size));
  OPENSSL_free(der);
  return digest;
}

Result<std::string> KeyOfCertificate(const std::string& certificate) {
  ASSIGN_OR_RETURN(const Certificate read, ReadCertificate(certificate));
  const EVP_PKEY* const key = X509_get0_pubkey(read.get());
  if (key == nullptr) return NotA("certificate's key");
  return DigestOf(key);
}

Result<std::string> KeyOfPrivateKey(const std::string& private_key) {
  ASSIGN_OR_RETURN(const Key key, ReadKey(private_key));
  return DigestOf(key.get());
}

Result<std::string> NameOfCertificate(const std::string& certificate) {
  ASSIGN_OR_RETURN(const Certificate read, ReadCertificate(certificate));
  const X509_NAME* const subject = X509_get_subject_name(read.get());
  const int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  unsigned char* text = nullptr;
  const int size = at < 0 ? -1
                          : ASN1_STRING_to_UTF8(
                                &text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
  if (size < 0) return NotA("certificate's name");
  std::string name(reinterpret_cast<const char*>(text), static_cast<size_t>(size));
  OPENSSL_free(text);
  return name;
}

Status CheckSignedBy(const KeyedCertificate& own, const std::string& authority) {
  ASSIGN_OR_RETURN(const Certificate certificate, ReadCertificate(own.certificate));
  ASSIGN_OR_RETURN(const Key key, ReadKey(own.private_key));
  ASSIGN_OR_RETURN(const Certificate issuer, ReadCertificate(authority));
  const bool matches = X509_check_private_key(certificate.get(), key.get()) == 1;
  const bool is_signed = X509_verify(certificate.get(), X509_get0_pubkey(issuer.get())) == 1 &&
                         X509_check_issued(issuer.get(), certificate.get()) == X509_V_OK;
  ERR_clear_error();
  if (matches && is_signed) return {};
  return MakeError(ErrorKind::kCorrupt,
                   matches ? "check certificate (another authority has signed it)"
                           : "check certificate (it belongs to another key)",
                   EBADMSG);
}

std::string Sha256Hex(std::string_view bytes) { return DigestOf(bytes.data(), bytes.size()); }

Result<std::string> RandomBytes(size_t size) {
  std::string bytes(size, '\0');
  if (RAND_bytes(reinterpret_cast<unsigned char*>(bytes.data()), static_cast<int>(size)) != 1) {
    return CryptoError("draw random bytes");
  }
  return bytes;
}

bool SameSecret(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace tandem::replica
