// The token of an invitation: one line that the administrator of a store gives to that of a source.
// Whoever has it may enrol one host, so it is a secret: never log one, nor any part of it.
//
// Format: "tandem-invite-1." and the base64url form (RFC 4648, without padding) of a JSON object
//   {"addresses": ["HOST:PORT", ...], "authority": DIGEST, "secret": HEX, "account": NAME}
// The number in the prefix is the version of what follows. Members that a parser does not know are
// ignored.
//
// Any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "meta/base/result.h"

namespace tandem::replica {

inline constexpr size_t kMaxTokenBytes = 8192;
inline constexpr size_t kMaxTokenAddresses = 32;

struct Token {
  std::vector<std::string> addresses;  // HOST:PORT, to be tried in this order; at least one
  std::string authority_digest;        // as in Credentials
  std::string secret;                  // kInvitationSecretBytes bytes
  std::string account;                 // for messages; the store knows what the secret is for
};

// Returns the token without a newline.
std::string FormatToken(const Token& token);
// Accepts white space around the token. Returns kUsage, with a reason that repeats nothing of the
// text, if it is no token, or is of a version that this program does not know.
Result<Token> ParseToken(std::string_view text);

}  // namespace tandem::replica
