// Keys and certificates of tls://.
#include "replica/transport/certificates.h"

#include <gmock/gmock.h>

#include "replica/transport/credentials.h"

namespace tandem::replica {
namespace {

using ::testing::HasSubstr;

class Certificates : public ::testing::Test {
 protected:
  const KeyedCertificate authority_ = MakeAuthority().value();
  const std::string key_ = MakePrivateKey().value();
  const std::string request_ = MakeCertificateRequest(key_).value();
};

TEST_F(Certificates, OfAHostHaveItsKeyItsNameAndTheAuthoritysSignature) {
  const std::string certificate = SignRequest(authority_, request_, "alice/web-1a2b3c4d").value();
  EXPECT_EQ(NameOfCertificate(certificate).value(), "alice/web-1a2b3c4d");
  EXPECT_EQ(KeyOfCertificate(certificate).value(), KeyOfPrivateKey(key_).value());
  EXPECT_EQ(KeyOfCertificate(certificate).value(), KeyOfRequest(request_).value());
  EXPECT_EQ(KeyOfRequest(request_)->size(), 64u);
  EXPECT_TRUE(CheckSignedBy({certificate, key_}, authority_.certificate));
}

TEST_F(Certificates, OfADaemonHaveItsName) {
  const KeyedCertificate daemon = MakeDaemonCertificate(authority_).value();
  EXPECT_EQ(NameOfCertificate(daemon.certificate).value(), kDaemonName);
  EXPECT_TRUE(CheckSignedBy(daemon, authority_.certificate));
}

TEST_F(Certificates, OfAnotherAuthorityOrKeyAreToldApart) {
  const KeyedCertificate other = MakeAuthority().value();
  const std::string certificate = SignRequest(other, request_, "alice/web").value();
  EXPECT_FALSE(CheckSignedBy({certificate, key_}, authority_.certificate));
  EXPECT_TRUE(CheckSignedBy({certificate, key_}, other.certificate));
  const auto mismatch = CheckSignedBy({certificate, MakePrivateKey().value()}, other.certificate);
  ASSERT_FALSE(mismatch);
  EXPECT_THAT(mismatch.error().ToString(), HasSubstr("another key"));
  EXPECT_NE(DigestOfCertificate(authority_.certificate).value(),
            DigestOfCertificate(other.certificate).value());
}

TEST_F(Certificates, AreNotMadeForARequestThatItsKeyHasNotSigned) {
  // The end of another request's signature under this one's: whoever sends that lacks the key. The
  // two numbers of a signature have one length or another; where they do not fit, it is no
  // signature.
  constexpr std::string_view kEnd = "-----END";
  constexpr size_t kSome = 20;
  constexpr int kAttempts = 200;
  bool fits = false;
  for (int i = 0; i < kAttempts && !fits; ++i) {
    const std::string other = MakeCertificateRequest(MakePrivateKey().value()).value();
    if (other.size() != request_.size()) continue;
    std::string forged = request_;
    const size_t at = forged.find(kEnd) - kSome;
    forged.replace(at, kSome, other.substr(at, kSome));
    const auto key = KeyOfRequest(forged);
    ASSERT_FALSE(key);
    EXPECT_FALSE(SignRequest(authority_, forged, "alice/web"));
    fits = key.error().ToString().find("not signed with its own key") != std::string::npos;
  }
  EXPECT_TRUE(fits);
}

TEST_F(Certificates, AreNotMadeForOtherKindsOfKeys) {
  const std::string ed25519 =
      "-----BEGIN CERTIFICATE REQUEST-----\n"
      "MIGOMEICAQAwDzENMAsGA1UEAwwEZXZpbDAqMAUGAytlcAMhANcSR2pghSsYKVSg\n"
      "kqkZ+zA8D8FiZui4HaK7cKZVp9jQoAAwBQYDK2VwA0EAqvhBLVjhf6nNfmHK28bc\n"
      "5NuTO1vbjHDs9dCMSKT9irdQqR2CHK4r07mKe4rnOSxibO2bDtBCYnamxeyqdGUn\n"
      "BQ==\n"
      "-----END CERTIFICATE REQUEST-----\n";
  const std::string p384 =
      "-----BEGIN CERTIFICATE REQUEST-----\n"
      "MIIBCDCBjwIBADAQMQ4wDAYDVQQDDAVhbGljZTB2MBAGByqGSM49AgEGBSuBBAAi\n"
      "A2IABOb/CxF6vDv3Hf4P4r2kAMoDgXxU/rptuHixBEtfOspsOjkTpGNojIEhMpfb\n"
      "LyNuln/qDpIwwBC2Afg7SsJqoN2WZ5paWQr5G6O6GQKIkw65dH9TSaZGiXG0U6TZ\n"
      "DaRGkqAAMAoGCCqGSM49BAMCA2gAMGUCMApIO3SzuISNMq1dchoUiEB9Dn9wFcTA\n"
      "ripX3nEoCK+ALXx6JJLA7KF1UqYHMjv9lwIxAIWgAWWr69dUwy2d7z3LjBiCDUH/\n"
      "DNYMB61LyC0tzOH9Oqm/uqlBFNww/1rljtBkkA==\n"
      "-----END CERTIFICATE REQUEST-----\n";
  for (const std::string& request : {ed25519, p384}) {
    const auto key = KeyOfRequest(request);
    ASSERT_FALSE(key);
    EXPECT_THAT(key.error().ToString(), HasSubstr("not EC P-256"));
  }
}

TEST_F(Certificates, GarbageIsRefused) {
  for (const std::string& text : {std::string(), std::string("garbage"), request_.substr(0, 100),
                                  key_, authority_.certificate, std::string(8000, '\0')}) {
    EXPECT_FALSE(KeyOfRequest(text));
  }
  for (size_t at = 0; at < request_.size(); at += 7) {
    std::string damaged = request_;
    damaged[at] = static_cast<char>(damaged[at] ^ 1);
    const auto key = KeyOfRequest(damaged);  // a bit of the armour may be without meaning
    if (key) {
      EXPECT_EQ(*key, KeyOfRequest(request_).value());
    }
  }
  EXPECT_FALSE(KeyOfCertificate(request_));
  EXPECT_FALSE(KeyOfPrivateKey(authority_.certificate));
}

TEST_F(Certificates, ErrorsDoNotQuoteKeys) {
  const auto failed = KeyOfPrivateKey(key_.substr(0, key_.size() / 2));
  ASSERT_FALSE(failed);
  EXPECT_THAT(failed.error().ToString(), ::testing::Not(HasSubstr(key_.substr(30, 20))));
}

TEST(Secrets, AreComparedWhole) {
  EXPECT_TRUE(SameSecret("abc", "abc"));
  EXPECT_FALSE(SameSecret("abc", "abd"));
  EXPECT_FALSE(SameSecret("abc", "ab"));
  EXPECT_EQ(Sha256Hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_NE(RandomBytes(32).value(), RandomBytes(32).value());
}

}  // namespace
}  // namespace tandem::replica
