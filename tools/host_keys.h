// The keys with which this host proves itself to replica daemons over tls://. A directory, 0700, of
// files that only their owner may read:
//   HOST:PORT.json     the key and the certificate for the daemon at that address
//   ACCOUNT@HOST:PORT.json   likewise, of a host that had a key of another account there already
//   invited-HEX.json   a key that is being certified; HEX is part of the SHA-256 of the secret
//   lock               flock(2) of whoever changes them
// Each is a JSON object with "format": 1.
//
// Any thread.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "meta/base/result.h"
#include "meta/base/secret_file.h"
#include "replica/transport/credentials.h"

namespace tandem::tools {

struct HostKey {
  std::string place;                   // HOST:PORT or ACCOUNT@HOST:PORT: what follows tls://
  std::vector<std::string> addresses;  // HOST:PORT of the daemon
  std::string identity;                // ACCOUNT/NAME
  replica::Credentials credentials;
  std::string invitation;        // SHA-256 of the secret that it was certified for
  std::string next_private_key;  // is being certified in place of credentials.private_key, or empty
};

class HostKeys {
 public:
  // Returns $TANDEM_KEYS if it is set, /etc/tandemfs/keys for root, otherwise
  // $XDG_CONFIG_HOME/tandemfs/keys or
  // ~/.config/tandemfs/keys.
  static std::string DefaultDirectory();
  explicit HostKeys(std::string directory = DefaultDirectory())
      : directory_(std::move(directory)) {}

  // Finds the key for the daemon at [ACCOUNT@]HOST:PORT: the file of that name, or one that lists
  // the address, of that account if one is named. Returns kRefused if the file is not private,
  // kCorrupt if it is damaged, and kUsage if no account is named and keys of several fit.
  Result<std::optional<HostKey>> Find(const std::string& place) const;
  // Finds the key that was certified for this invitation.
  Result<std::optional<HostKey>> FindInvited(const std::string& invitation) const;
  std::string PathOf(const std::string& place) const { return directory_ + "/" + place + ".json"; }

  // Makes the directory if need be. Hold the lock while you call the functions below.
  Result<LockedFile> Lock() const;
  Status Store(const HostKey& key) const;
  // Returns the private key for this invitation; makes and stores it if there is none.
  Result<std::string> KeyForInvitation(const std::string& invitation) const;
  Status ForgetInvitation(const std::string& invitation) const;

 private:
  std::string PathOfInvitation(const std::string& invitation) const;
  Result<HostKey> Read(const std::string& path) const;
  // Returns all readable keys for which `matches` returns true.
  std::vector<HostKey> FindIf(auto matches) const;

  const std::string directory_;
};

// Returns the account of a key's identity.
std::string AccountOf(const HostKey& key);

// Returns what to connect with to `url`: nothing but for tls://. Returns kUsage, with what to do,
// if this host has no key for it.
Result<replica::Credentials> CredentialsFor(const std::string& url,
                                            const HostKeys& keys = HostKeys());

}  // namespace tandem::tools
