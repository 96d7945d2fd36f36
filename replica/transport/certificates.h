// Keys and certificates of tls://: a store's authority, the daemon's own certificate, and those of
// the hosts that have enrolled. All keys are EC P-256, all signatures ECDSA with SHA-256, all
// values PEM texts. Certificates never expire, because a clock that is a year off must not stop
// replication: what a key may do is looked up in the store's account files with each request.
//
// Any thread. Errors never contain a key. What libcrypto fails at becomes kSystem; a text that is
// not what it should be becomes kCorrupt.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "meta/base/result.h"

namespace tandem::replica {

struct KeyedCertificate {
  std::string certificate;
  std::string private_key;
};

// Makes a key and a certificate signed with it, which may sign certificates of others but no
// further authorities.
Result<KeyedCertificate> MakeAuthority();
// Makes the certificate that a daemon shows: common name kDaemonName, for servers only.
Result<KeyedCertificate> MakeDaemonCertificate(const KeyedCertificate& authority);

Result<std::string> MakePrivateKey();
// Makes the request (PKCS #10) that a host sends to have its key certified. Its signature proves
// that the host has the private key.
Result<std::string> MakeCertificateRequest(const std::string& private_key);
// Checks the request's signature and the kind of its key. Returns the digest of the key, in the
// form of PeerIdentity::key. Whatever else is in the request is ignored.
Result<std::string> KeyOfRequest(const std::string& request);
// Checks the request like KeyOfRequest, and returns a certificate for its key: common name `name`
// (1 to 64 bytes), for clients only.
Result<std::string> SignRequest(const KeyedCertificate& authority, const std::string& request,
                                const std::string& name);

// SHA-256 of the certificate's DER form, in the form of Credentials::authority_digest.
Result<std::string> DigestOfCertificate(const std::string& certificate);
// Digests of the public key, in the form of PeerIdentity::key.
Result<std::string> KeyOfCertificate(const std::string& certificate);
Result<std::string> KeyOfPrivateKey(const std::string& private_key);
Result<std::string> NameOfCertificate(const std::string& certificate);
// Returns kCorrupt unless the private key belongs to the certificate and `authority`, a
// certificate, has signed it.
Status CheckSignedBy(const KeyedCertificate& own, const std::string& authority);

// SHA-256, 64 hexadecimal digits.
std::string Sha256Hex(std::string_view bytes);
// Random bytes that nobody can guess.
Result<std::string> RandomBytes(size_t size);
// Compares in a time that depends on the sizes only.
bool SameSecret(std::string_view a, std::string_view b);

}  // namespace tandem::replica
