// The accounts of a store, the identities (hosts) that belong to them, and the open invitations:
// the content of STORE/.tandemd/accounts.json (replica/accounts/ACCOUNTS.md). Plain values; the
// file is read and written by replica/accounts/account_files.h.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "meta/base/result.h"
#include "replica/accounts/rights.h"

namespace tandem::replica {

// Times are seconds since 1970; 0 is never.
struct Account {
  std::string name;
  Quota quota;
  bool may_set_special = false;
};

struct KnownIdentity {
  std::string name;  // ACCOUNT/HOST-xxxxxxxx
  std::string key;   // as PeerIdentity::key
  // Certified by Renew. Takes the place of `key`, which is still good for kRenewalGrace after the
  // first use of this one, because other mounts of the host may hold it in memory.
  std::string next_key;
  int64_t next_used = 0;  // when next_key was first used
  std::string volumes = "*";
  bool read_only = false;
  int64_t created = 0;
  int64_t last_used = 0;
  bool revoked = false;
  bool must_renew = false;
};

inline constexpr int64_t kRenewalGrace = 3600;

struct Invitation {
  std::string secret_digest;  // SHA-256
  std::string account;
  std::string volumes = "*";
  bool read_only = false;
  int64_t created = 0;
  int64_t expires = 0;
  std::string key;       // the first that used it; empty if none has
  std::string identity;  // what that key became
  // Another key has tried it since. Somebody else has the token.
  bool misused = false;
};

struct Accounts {
  std::vector<Account> accounts;
  std::vector<KnownIdentity> identities;
  std::vector<Invitation> invitations;

  Account* Find(std::string_view name);
  KnownIdentity* FindIdentity(std::string_view name);
  // Finds the identity that has this key, also as its next one.
  KnownIdentity* FindKey(std::string_view key);
};

// Removes invitations that are over, and ends renewals whose grace is over. Returns true if that
// changed anything.
bool TidyUp(Accounts& accounts, int64_t now);

// Returns true for 1 to 32 characters a-z, 0-9, '.', '_' and '-' that begin with a letter or a
// digit, except "local".
bool IsAccountName(std::string_view name);
// Returns true for what fnmatch can match with the name of a volume.
bool IsVolumePattern(std::string_view pattern);
// Returns the account's name in an identity's name.
std::string_view AccountOf(std::string_view identity);
// Returns a name for the key's identity that is not taken. `host` may be anything.
std::string NameFor(const Accounts& accounts, const std::string& account, std::string_view host,
                    const std::string& key);

// Returns true if the invitation can be used at the time `now`. It cannot if the clock shows a time
// before it was made.
bool IsOpen(const Invitation& invitation, int64_t now);

std::string FormatAccounts(const Accounts& accounts);
// Returns kCorrupt if the text violates the format or was written by a newer version. `path` is for
// messages.
Result<Accounts> ParseAccounts(const std::string& text, const std::string& path);

}  // namespace tandem::replica
