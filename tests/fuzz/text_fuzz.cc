// Everything that reads what people type or write into files: URLs, lengths of time, words, and
// what of it is printed again. The first byte of an input says which reader the rest is for.
#include <string>
#include <vector>

#include "meta/base/escape.h"
#include "meta/base/ids.h"
#include "tests/fuzz/lib/fuzz.h"
#include "tools/duration.h"
#include "tools/replica_url.h"
#include "tools/spelling.h"

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
  (void)IsLoopback(*url);
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

void Try(uint8_t which, const std::string& text) {
  switch (which % 8) {
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
    default:
      return;  // tokens: replica/transport/token.h; tandemd's configuration
  }
}

}  // namespace
}  // namespace tandem::tools

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  tandem::tools::Try(data[0], {reinterpret_cast<const char*>(data) + 1, size - 1});
  return 0;
}
