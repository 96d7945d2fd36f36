#include "replica/transport/token.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <nlohmann/json.hpp>
#include <optional>

#include "meta/base/hex.h"
#include "replica/wire/messages.h"

namespace tandem::replica {
namespace {

using Json = nlohmann::json;

constexpr std::string_view kPrefix = "tandem-invite-";
constexpr std::string_view kVersion = "1";
constexpr std::string_view kDigits =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr size_t kDigestDigits = 64;
constexpr size_t kMaxAddressBytes = 263;  // a name of 253 bytes, brackets, colon and port

tl::unexpected<Error> NoToken(const std::string& why) {
  return MakeError(
      ErrorKind::kUsage,
      "read invitation (" + why + "; expected is the line that `tandemd invite` prints)", EINVAL);
}

std::string ToBase64(std::string_view bytes) {
  std::string text;
  for (size_t at = 0; at < bytes.size(); at += 3) {
    const size_t count = std::min<size_t>(3, bytes.size() - at);
    uint32_t group = 0;
    for (size_t i = 0; i < 3; ++i) {
      group = group << 8 | (i < count ? static_cast<unsigned char>(bytes[at + i]) : 0);
    }
    for (size_t i = 0; i <= count; ++i) text += kDigits[group >> (18 - 6 * i) & 63];
  }
  return text;
}

std::optional<std::string> FromBase64(std::string_view text) {
  if (text.size() % 4 == 1) return std::nullopt;
  std::string bytes;
  uint32_t group = 0;
  int bits = 0;
  for (const char digit : text) {
    const size_t value = kDigits.find(digit);
    if (value == std::string_view::npos) return std::nullopt;
    group = (group << 6 | static_cast<uint32_t>(value)) & 0xffff;
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    bytes += static_cast<char>(group >> bits & 0xff);
  }
  return bytes;
}

bool IsNameCharacter(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '-' || c == '_';
}

// Returns whether this looks like HOST:PORT. Whoever connects checks it closely.
bool IsAddress(const std::string& text) {
  const bool plain = std::ranges::all_of(
      text, [](char c) { return IsNameCharacter(c) || c == ':' || c == '[' || c == ']'; });
  const size_t colon = text.rfind(':');
  return plain && text.size() <= kMaxAddressBytes && colon != std::string::npos && colon > 0 &&
         colon + 1 < text.size();
}

// Returns the member if it is a text, otherwise an empty string.
std::string TextAt(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_string() ? found->get<std::string>() : std::string();
}

Result<Token> FromJson(const Json& json) {
  if (!json.is_object()) return NoToken("it is damaged");
  Token token;
  token.account = TextAt(json, "account");
  token.authority_digest = TextAt(json, "authority");
  token.secret = FromHex(TextAt(json, "secret")).value_or("");
  const auto addresses = json.find("addresses");
  if (addresses == json.end() || !addresses->is_array() || addresses->empty() ||
      addresses->size() > kMaxTokenAddresses) {
    return NoToken("it says at no address, or at too many, where the daemon listens");
  }
  for (const Json& item : *addresses) {
    std::string address = item.is_string() ? item.get<std::string>() : std::string();
    if (!IsAddress(address)) return NoToken("an address in it is not HOST:PORT");
    token.addresses.push_back(std::move(address));
  }
  const auto digest = FromHex(token.authority_digest);
  if (!digest || token.authority_digest.size() != kDigestDigits ||
      token.secret.size() != kInvitationSecretBytes || token.account.empty() ||
      token.account.size() > kMaxIdentityBytes ||
      !std::ranges::all_of(token.account, IsNameCharacter)) {
    return NoToken("it is incomplete");
  }
  return token;
}

}  // namespace

std::string FormatToken(const Token& token) {
  const Json json = {{"addresses", token.addresses},
                     {"authority", token.authority_digest},
                     {"secret", ToHex(token.secret)},
                     {"account", token.account}};
  return std::string(kPrefix) + std::string(kVersion) + "." + ToBase64(json.dump());
}

Result<Token> ParseToken(std::string_view text) {
  if (text.size() > kMaxTokenBytes) {
    return NoToken("it is longer than " + std::to_string(kMaxTokenBytes) + " bytes");
  }
  constexpr std::string_view kSpace = " \t\r\n";
  text.remove_prefix(std::min(text.find_first_not_of(kSpace), text.size()));
  text = text.substr(0, text.find_last_not_of(kSpace) + 1);
  if (text.empty()) return NoToken("it is empty");
  if (!text.starts_with(kPrefix)) return NoToken("it does not begin with tandem-invite-");
  text.remove_prefix(kPrefix.size());
  const size_t dot = text.find('.');
  const std::string_view version = text.substr(0, dot);
  const bool is_number = !version.empty() && version.size() < 10 &&
                         std::ranges::all_of(version, [](char c) { return c >= '0' && c <= '9'; });
  if (dot == std::string_view::npos || !is_number || version.front() == '0') {
    return NoToken("it has no version");
  }
  if (version != kVersion) {
    return MakeError(ErrorKind::kUsage,
                     "read invitation (its version is " + std::string(version) +
                         ", and this tandemfs knows only version " + std::string(kVersion) +
                         ": upgrade tandemfs on this host)",
                     EPROTONOSUPPORT);
  }
  const auto json = FromBase64(text.substr(dot + 1));
  if (!json) return NoToken("it has other characters than a token has, or was cut off");
  return FromJson(Json::parse(*json, nullptr, false));
}

}  // namespace tandem::replica
