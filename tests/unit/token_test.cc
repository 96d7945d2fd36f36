// The line that `tandemd invite` prints, and what else may be taken for one.
#include "replica/transport/token.h"

#include <gmock/gmock.h>

#include <random>

#include "replica/wire/messages.h"

namespace tandem::replica {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Token Some() {
  return {{"backup.example:7447", "192.0.2.7:1", "[2001:db8::1]:7447"},
          std::string(64, 'a'),
          std::string(kInvitationSecretBytes, '\xfe'),
          "alice"};
}

std::string WhyNot(const std::string& text) {
  const auto token = ParseToken(text);
  EXPECT_FALSE(token) << text;
  if (token) return "";
  EXPECT_EQ(token.error().kind(), ErrorKind::kUsage);
  return token.error().ToString();
}

TEST(Tokens, SurviveTheirText) {
  const std::string text = FormatToken(Some());
  EXPECT_TRUE(text.starts_with("tandem-invite-1."));
  EXPECT_EQ(text.find_first_of(" \n=+/"), std::string::npos) << text;
  for (const std::string& around : {text, text + "\n", "  " + text + "\r\n\n"}) {
    const auto token = ParseToken(around);
    ASSERT_TRUE(token) << token.error().ToString();
    EXPECT_EQ(token->addresses, Some().addresses);
    EXPECT_EQ(token->authority_digest, Some().authority_digest);
    EXPECT_EQ(token->secret, Some().secret);
    EXPECT_EQ(token->account, "alice");
  }
}

TEST(Tokens, OfAnotherVersionSayWhatToUpgrade) {
  const std::string text = FormatToken(Some());
  const std::string newer = "tandem-invite-2" + text.substr(text.find('.'));
  EXPECT_THAT(WhyNot(newer), HasSubstr("upgrade tandemfs on this host"));
  EXPECT_THAT(WhyNot("tandem-invite-999999999999." + text), HasSubstr("no version"));
  EXPECT_THAT(WhyNot("tandem-invite-01."), HasSubstr("no version"));
}

TEST(Tokens, OtherTextsAreRefused) {
  const std::string text = FormatToken(Some());
  EXPECT_THAT(WhyNot(""), HasSubstr("empty"));
  EXPECT_THAT(WhyNot(" \n"), HasSubstr("empty"));
  EXPECT_THAT(WhyNot("tls://host:7447"), HasSubstr("tandem-invite-"));
  EXPECT_THAT(WhyNot(text.substr(0, 14)), HasSubstr("no version"));
  EXPECT_THAT(WhyNot(text + "!"), HasSubstr("other characters"));
  EXPECT_THAT(WhyNot(text + " " + text), HasSubstr("other characters"));
  EXPECT_THAT(WhyNot(std::string(kMaxTokenBytes + 1, 'x')), HasSubstr("longer"));
  for (size_t length = 16; length < text.size() - 1; ++length) WhyNot(text.substr(0, length));
}

TEST(Tokens, WithImpossibleContentAreRefused) {
  const auto why = [](auto change) {
    Token token = Some();
    change(token);
    return WhyNot(FormatToken(token));
  };
  EXPECT_THAT(why([](Token& t) { t.addresses.clear(); }), HasSubstr("address"));
  EXPECT_THAT(why([](Token& t) { t.addresses.resize(kMaxTokenAddresses + 1, "a:1"); }),
              HasSubstr("address"));
  for (const std::string address : {"host", ":1", "host:", "../x:1", "a b:1", "a/b:1", "h\n:1"}) {
    EXPECT_THAT(why([&](Token& t) { t.addresses[1] = address; }), HasSubstr("HOST:PORT"));
  }
  EXPECT_THAT(why([](Token& t) { t.secret.pop_back(); }), HasSubstr("incomplete"));
  EXPECT_THAT(why([](Token& t) { t.authority_digest += "00"; }), HasSubstr("incomplete"));
  EXPECT_THAT(why([](Token& t) { t.authority_digest[0] = 'g'; }), HasSubstr("incomplete"));
  EXPECT_THAT(why([](Token& t) { t.account = ""; }), HasSubstr("incomplete"));
  EXPECT_THAT(why([](Token& t) { t.account = "a/../b"; }), HasSubstr("incomplete"));
}

TEST(Tokens, AreNotRepeatedInErrors) {
  const std::string text = FormatToken(Some());
  EXPECT_THAT(WhyNot(text.substr(0, text.size() - 9)), Not(HasSubstr(text.substr(40, 8))));
  EXPECT_THAT(WhyNot(text.substr(20)), Not(HasSubstr(text.substr(40, 8))));
}

TEST(Tokens, DamagedNeverCrash) {
  const std::string text = FormatToken(Some());
  std::mt19937 random(20261128);
  for (int round = 0; round < 3000; ++round) {
    std::string damaged = text;
    for (unsigned flips = random() % 4 + 1; flips > 0; --flips) {
      damaged[random() % damaged.size()] = static_cast<char>(random());
    }
    (void)ParseToken(damaged);
  }
  std::string deep;  // base64 of [[[[...
  while (deep.size() < kMaxTokenBytes - 20) deep += "W1tb";
  WhyNot("tandem-invite-1." + deep);
}

}  // namespace
}  // namespace tandem::replica
