#include "replica/accounts/accounts.h"

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>
#include <set>

#include "meta/base/hex.h"

namespace tandem::replica {
namespace {

using Json = nlohmann::json;

constexpr int kFormat = 1;
constexpr size_t kMaxAccountBytes = 32;
constexpr size_t kMaxPatternBytes = 255;
// What an account's name, '/', '-' and the mark leave of the 64 bytes of a common name.
constexpr size_t kMaxHostBytes = 22;
constexpr size_t kMarkDigits = 8;
constexpr size_t kDigestDigits = 64;

bool IsNameCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

template <typename T>
auto* FindNamed(std::vector<T>& items, std::string_view name) {
  const auto found = std::ranges::find(items, name, &T::name);
  return found == items.end() ? nullptr : &*found;
}

bool IsDigest(const std::string& text) {
  return text.size() == kDigestDigits && FromHex(text).has_value();
}

// ---- JSON; the functions From throw Json::exception if a member is missing or of another type. --

Json ToJson(const Account& account) {
  return {{"name", account.name},
          {"quota_bytes", account.quota.bytes},
          {"quota_objects", account.quota.objects},
          {"quota_volumes", account.quota.volumes},
          {"allow_special", account.may_set_special}};
}

Json ToJson(const KnownIdentity& identity) {
  return {{"name", identity.name},         {"key", identity.key},
          {"next_key", identity.next_key}, {"next_used", identity.next_used},
          {"volumes", identity.volumes},   {"read_only", identity.read_only},
          {"created", identity.created},   {"last_used", identity.last_used},
          {"revoked", identity.revoked},   {"must_renew", identity.must_renew}};
}

Json ToJson(const Invitation& invitation) {
  return {{"secret_sha256", invitation.secret_digest},
          {"account", invitation.account},
          {"volumes", invitation.volumes},
          {"read_only", invitation.read_only},
          {"created", invitation.created},
          {"expires", invitation.expires},
          {"key", invitation.key},
          {"identity", invitation.identity},
          {"misused", invitation.misused}};
}

template <typename T>
Json ToJson(const std::vector<T>& items) {
  Json all = Json::array();
  for (const T& item : items) all.push_back(ToJson(item));
  return all;
}

void From(const Json& json, Account& account) {
  json.at("name").get_to(account.name);
  json.at("quota_bytes").get_to(account.quota.bytes);
  json.at("quota_objects").get_to(account.quota.objects);
  json.at("quota_volumes").get_to(account.quota.volumes);
  json.at("allow_special").get_to(account.may_set_special);
}

void From(const Json& json, KnownIdentity& identity) {
  json.at("name").get_to(identity.name);
  json.at("key").get_to(identity.key);
  json.at("next_key").get_to(identity.next_key);
  json.at("next_used").get_to(identity.next_used);
  json.at("volumes").get_to(identity.volumes);
  json.at("read_only").get_to(identity.read_only);
  json.at("created").get_to(identity.created);
  json.at("last_used").get_to(identity.last_used);
  json.at("revoked").get_to(identity.revoked);
  json.at("must_renew").get_to(identity.must_renew);
}

void From(const Json& json, Invitation& invitation) {
  json.at("secret_sha256").get_to(invitation.secret_digest);
  json.at("account").get_to(invitation.account);
  json.at("volumes").get_to(invitation.volumes);
  json.at("read_only").get_to(invitation.read_only);
  json.at("created").get_to(invitation.created);
  json.at("expires").get_to(invitation.expires);
  json.at("key").get_to(invitation.key);
  json.at("identity").get_to(invitation.identity);
  json.at("misused").get_to(invitation.misused);
}

template <typename T>
void From(const Json& json, std::vector<T>& items) {
  for (const Json& item : json) From(item, items.emplace_back());
}

// Returns what is wrong; an empty string if nothing is.
std::string FaultIn(Accounts& all) {
  std::set<std::string> keys;
  for (const Account& account : all.accounts) {
    if (!IsAccountName(account.name)) return "\"" + account.name + "\" cannot name an account";
  }
  for (const KnownIdentity& identity : all.identities) {
    const std::string name = "identity " + identity.name;
    if (all.Find(AccountOf(identity.name)) == nullptr) return name + " is of no account";
    if (!IsVolumePattern(identity.volumes)) return name + " has no valid pattern of volumes";
    if (!IsDigest(identity.key) || (!identity.next_key.empty() && !IsDigest(identity.next_key))) {
      return name + " has a damaged key";
    }
    const bool is_first = keys.insert(identity.key).second &&
                          (identity.next_key.empty() || keys.insert(identity.next_key).second);
    if (!is_first) return name + " shares its key with another";
  }
  for (const Invitation& invitation : all.invitations) {
    const std::string name = "an invitation to account " + invitation.account;
    if (all.Find(invitation.account) == nullptr) return name + ", which there is not";
    if (!IsDigest(invitation.secret_digest)) return name + " is damaged";
    if (!IsVolumePattern(invitation.volumes)) return name + " has no valid pattern of volumes";
  }
  return "";
}

}  // namespace

Account* Accounts::Find(std::string_view name) { return FindNamed(accounts, name); }
KnownIdentity* Accounts::FindIdentity(std::string_view name) { return FindNamed(identities, name); }
KnownIdentity* Accounts::FindKey(std::string_view key) {
  if (key.empty()) return nullptr;
  const auto found = std::ranges::find_if(identities, [&](const KnownIdentity& identity) {
    return identity.key == key || identity.next_key == key;
  });
  return found == identities.end() ? nullptr : &*found;
}

bool TidyUp(Accounts& all, int64_t now) {
  bool changed = std::erase_if(all.invitations, [now](const Invitation& invitation) {
                   return now >= invitation.expires;
                 }) > 0;
  for (KnownIdentity& identity : all.identities) {
    if (identity.next_used == 0 || now < identity.next_used + kRenewalGrace) continue;
    identity.key = std::move(identity.next_key);
    identity.next_key.clear();
    identity.next_used = 0;
    changed = true;
  }
  return changed;
}

bool IsAccountName(std::string_view name) {
  return !name.empty() && name.size() <= kMaxAccountBytes && name != kLocalAccount &&
         std::ranges::all_of(name, IsNameCharacter) &&
         std::isalnum(static_cast<unsigned char>(name.front())) != 0;
}

bool IsVolumePattern(std::string_view pattern) {
  return !pattern.empty() && pattern.size() <= kMaxPatternBytes &&
         std::ranges::none_of(pattern, [](char c) {
           return c == '/' || static_cast<unsigned char>(c) < ' ' ||
                  static_cast<unsigned char>(c) >= 0x7f;
         });
}

std::string_view AccountOf(std::string_view identity) {
  return identity.substr(0, identity.find('/'));
}

std::string NameFor(const Accounts& accounts, const std::string& account, std::string_view host,
                    const std::string& key) {
  std::string base = account + "/";
  for (const char c : host.substr(0, host.find('.')).substr(0, kMaxHostBytes)) {
    const char lower = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    base += IsNameCharacter(lower) ? lower : '_';
  }
  if (base.ends_with('/')) base += "host";
  // Part of the key's digest. Where two agree in that part, the next digits tell them apart.
  for (size_t at = 0;; at = (at + 1) % (kDigestDigits - kMarkDigits)) {
    std::string name = base + "-" + key.substr(at, kMarkDigits);
    const auto taken = std::ranges::find(accounts.identities, name, &KnownIdentity::name);
    if (taken == accounts.identities.end()) return name;
  }
}

bool IsOpen(const Invitation& invitation, int64_t now) {
  return invitation.created <= now && now < invitation.expires;
}

std::string FormatAccounts(const Accounts& all) {
  constexpr int kIndent = 2;
  const Json json = {{"format", kFormat},
                     {"accounts", ToJson(all.accounts)},
                     {"identities", ToJson(all.identities)},
                     {"invitations", ToJson(all.invitations)}};
  return json.dump(kIndent, ' ', true, Json::error_handler_t::replace) + "\n";
}

Result<Accounts> ParseAccounts(const std::string& text, const std::string& path) {
  const auto corrupt = [&path](const std::string& why) {
    return MakeError(ErrorKind::kCorrupt,
                     "read account file " + path + " (" + why +
                         "; restore it from a backup, or move it away and invite the hosts again)",
                     EBADMSG);
  };
  Accounts all;
  try {
    // The library would convert a fraction to any type of integer, whether it fits or not.
    bool has_fractions = false;
    const Json json = Json::parse(text, [&has_fractions](int, Json::parse_event_t, Json& value) {
      has_fractions |= value.is_number_float();
      return true;
    });
    if (has_fractions) return corrupt("it has numbers that are not whole");
    const auto format = json.at("format").get<int64_t>();
    if (format > kFormat) {
      return MakeError(ErrorKind::kCorrupt,
                       "read account file " + path + " (its format is " + std::to_string(format) +
                           ", and this tandemd knows only " + std::to_string(kFormat) +
                           ": upgrade tandemd)",
                       EPROTONOSUPPORT);
    }
    From(json.at("accounts"), all.accounts);
    From(json.at("identities"), all.identities);
    From(json.at("invitations"), all.invitations);
  } catch (const Json::exception& e) {
    return corrupt(e.what());
  }
  if (const std::string fault = FaultIn(all); !fault.empty()) return corrupt(fault);
  return all;
}

}  // namespace tandem::replica
