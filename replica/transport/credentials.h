// What one end of a tls:// connection proves itself with, and whom it believes. All are PEM texts.
// They are secrets in part: never log one. Plain values.
#pragma once

#include <functional>
#include <string>

#include "meta/base/result.h"

namespace tandem::replica {

struct Credentials {
  std::string certificate;  // own, signed by `authority`; empty if the host has not enrolled yet
  std::string private_key;
  std::string authority;  // the certificate of the authority that must have signed the peer's
  // Instead of `authority`, as long as only this is known (from a token): SHA-256 of its DER form,
  // 64 hexadecimal digits. The peer then sends the authority's certificate with its own.
  std::string authority_digest;
};

// Finds what to prove this host with to the daemon at a tls:// URL; called for each connection, so
// a renewed key is used from the next one on. May read files. Any thread.
using FindCredentials = std::function<Result<Credentials>(const std::string& url)>;

// The common name of a daemon's own certificate. No account's identity has it, since an identity's
// name has a '/' in it.
inline constexpr char kDaemonName[] = "tandemd";

}  // namespace tandem::replica
