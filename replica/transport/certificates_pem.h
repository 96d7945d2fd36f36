// Keys and certificates as libcrypto's objects, and their PEM texts. Only certificates*.cc
// and tls.cc include it.
//
// Any thread. A text that is not what it should be is kCorrupt; what libcrypto fails at is kSystem.
#pragma once

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>

#include "meta/base/result.h"

namespace tandem::replica {

template <auto kFree>
struct CryptoFreer {
  template <typename T>
  void operator()(T* object) const {
    kFree(object);
  }
};
using Key = std::unique_ptr<EVP_PKEY, CryptoFreer<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, CryptoFreer<X509_free>>;
using CertificateRequest = std::unique_ptr<X509_REQ, CryptoFreer<X509_REQ_free>>;
using CertificateExtension = std::unique_ptr<X509_EXTENSION, CryptoFreer<X509_EXTENSION_free>>;
using BigNumber = std::unique_ptr<BIGNUM, CryptoFreer<BN_free>>;

// Adds libcrypto's reason.
tl::unexpected<Error> CryptoError(const std::string& what);
// Says that a text is no `what`, and nothing of what is in it.
tl::unexpected<Error> NotA(const std::string& what);

Result<Key> ReadKey(const std::string& text);
Result<Certificate> ReadCertificate(const std::string& text);
Result<CertificateRequest> ReadRequest(const std::string& text);
Result<std::string> ToPem(const Key& key);
Result<std::string> ToPem(const Certificate& certificate);
Result<std::string> ToPem(const CertificateRequest& request);

}  // namespace tandem::replica
