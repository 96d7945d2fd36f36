// Everything that reads what people type or write into files: URLs, lengths of time, words,
// tandemd's configuration, tokens, account files, and what of it is printed again. The first byte
// of an input says which reader the rest is for.
#include <string>
#include <vector>

#include "meta/base/escape.h"
#include "meta/base/ids.h"
#include "tests/fuzz/lib/fuzz.h"
#include "tools/duration.h"
#include "tools/replica_url.h"
#include "tools/spelling.h"

// Its configuration reader is in an unnamed namespace, and stands where its settings do.
#define main TandemdMain
#include "tools/tandemd.cc"  // NOLINT(bugprone-suspicious-include)
#undef main

#if __has_include("replica/transport/token.h")
#include "replica/transport/token.h"
#define TANDEM_FUZZ_TOKEN
#endif
#if __has_include("replica/transport/ssh_url.h")
#include "replica/transport/ssh_url.h"
#define TANDEM_FUZZ_SSH_URL
#endif
#if __has_include("replica/accounts/accounts.h")
#include "replica/accounts/accounts.h"
#define TANDEM_FUZZ_ACCOUNTS
#endif

namespace tandem::tools {
namespace {

using fuzz::Require;

void TryUrl(const std::string& text, UrlUse use) {
  const auto url = CheckUrl(text, use);
  if (!url) {
    Require(url.error().kind() == ErrorKind::kUsage, "a wrong URL is a matter of usage");
    return;
  }
  const auto again = CheckUrl(*url, use);
  Require(again && *again == *url, "a complete URL is complete");
  for (const char c : *url) Require(c != '\0', "a URL has no NUL");
}

void TryDuration(const std::string& text) {
  constexpr std::chrono::hours kLongest{8760};
  const auto time = ParseDuration(text);
  Require(!time || (time->count() >= 0 && *time <= kLongest), "a length of time is within bounds");
}

void TryWord(const std::string& text) {
  static const std::vector<std::string> words = {"status", "sync", "pause", "resume", "verify"};
  (void)NearestWord(text, words);
}

void TryEscape(const std::string& text) {
  const std::string escaped = EscapeControls(text);
  Require(EscapeControls(escaped) == escaped, "escaping twice changes nothing");
  for (const unsigned char c : escaped) {
    Require(c >= 0x20 && c != 0x7f, "no control character is left");
  }
}

void TryIds(const std::string& text) {
  const auto id = ObjectId::FromHex(text);
  if (id) Require(ObjectId::FromHex(id->ToHex()) == id, "an id is what it prints");
  const auto packed = ObjectId::FromBytes(text);
  if (packed) {
    const auto bytes = packed->ToBytes();
    Require(std::string(bytes.data(), bytes.size()) == text, "an id is what it packs");
  }
}

void TryConfig(const std::string& text) {
  Settings settings;
  settings.config = fuzz::ScratchPath() + "/config";
  fuzz::PutFile(settings.config, text);
  if (!ReadConfig(settings)) return;
  Require(CheckUrls(settings).has_value() || !settings.urls.empty(), "no URL is never wrong");
  const auto mode = StoreMode(settings);
  Require(!mode || (*mode & ~mode_t{0755}) == 0, "nobody but its owner writes to a store");
}

void TryToken([[maybe_unused]] const std::string& text) {
#ifdef TANDEM_FUZZ_TOKEN
  const auto token = replica::ParseToken(text);
  if (!token) {
    Require(token.error().kind() == ErrorKind::kUsage, "a wrong token is a matter of usage");
    return;
  }
  Require(!token->addresses.empty(), "a token leads somewhere");
  const auto again = replica::ParseToken(replica::FormatToken(*token));
  Require(again && again->addresses == token->addresses && again->secret == token->secret &&
              again->authority_digest == token->authority_digest,
          "a token is what it prints");
#endif
}

void TrySshUrl([[maybe_unused]] const std::string& text) {
#ifdef TANDEM_FUZZ_SSH_URL
  const auto url = replica::ParseSshUrl(text);
  if (!url) return;
  Require(
      !url->host.starts_with('-') && !url->user.starts_with('-') && !url->socket.starts_with('-'),
      "no part of a URL is an option");
  const auto again = replica::ParseSshUrl(url->ToString());
  Require(again && again->ToString() == url->ToString(), "a URL is what it prints");
#endif
}

void TryAccounts([[maybe_unused]] const std::string& text) {
#ifdef TANDEM_FUZZ_ACCOUNTS
  (void)replica::IsAccountName(text);
  (void)replica::IsVolumePattern(text);
  const auto accounts = replica::ParseAccounts(text, "accounts");
  if (!accounts) return;
  const std::string formatted = replica::FormatAccounts(*accounts);
  const auto again = replica::ParseAccounts(formatted, "accounts");
  Require(again && replica::FormatAccounts(*again) == formatted, "accounts are what is written");
#endif
}

void Try(uint8_t which, const std::string& text) {
  switch (which % 10) {
    case 0:
      return TryUrl(text, UrlUse::kListen);
    case 1:
      return TryUrl(text, UrlUse::kReplica);
    case 2:
      return TryDuration(text);
    case 3:
      return TryWord(text);
    case 4:
      return TryEscape(text);
    case 5:
      return TryIds(text);
    case 6:
      return TryConfig(text);
    case 7:
      return TryToken(text);
    case 8:
      return TrySshUrl(text);
    default:
      return TryAccounts(text);
  }
}

}  // namespace
}  // namespace tandem::tools

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  tandem::tools::Try(data[0], {reinterpret_cast<const char*>(data) + 1, size - 1});
  return 0;
}
