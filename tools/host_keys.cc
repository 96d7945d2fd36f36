#include "tools/host_keys.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "replica/accounts/accounts.h"
#include "replica/transport/certificates.h"

namespace tandem::tools {
namespace {

using Json = nlohmann::json;

constexpr int kFormat = 1;
constexpr size_t kMaxFileBytes = 64 << 10;
constexpr size_t kInvitationDigits = 16;
constexpr std::string_view kInvited = "invited-";
constexpr std::string_view kSuffix = ".json";
constexpr std::string_view kTls = "tls://";

bool IsMissing(const Error& error) {
  return error.kind() == ErrorKind::kSystem && error.code() == ENOENT;
}

tl::unexpected<Error> Damaged(const std::string& path) {
  return MakeError(ErrorKind::kCorrupt,
                   "read key file " + path +
                       " (it is damaged: restore it, or move it away and enrol this host again "
                       "with --replica [NAME=]@FILE)",
                   EBADMSG);
}

// The parser's own messages may quote the text, which is secret.
Result<Json> ReadJson(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadSecretFile(path, kMaxFileBytes));
  Json json = Json::parse(text, nullptr, false);
  const auto format = json.is_object() ? json.find("format") : json.end();
  if (!json.is_object() || format == json.end() || !format->is_number_integer()) {
    return Damaged(path);
  }
  if (*format == kFormat) return json;
  return MakeError(ErrorKind::kCorrupt,
                   "read key file " + path + " (its format is " + format->dump() +
                       ", and this tandemfs knows only " + std::to_string(kFormat) +
                       ": upgrade tandemfs)",
                   EPROTONOSUPPORT);
}

Status WriteJson(const std::string& path, const Json& json) {
  constexpr int kIndent = 2;
  return WriteSecretFile(path, json.dump(kIndent) + "\n");
}

}  // namespace

std::string HostKeys::DefaultDirectory() {
  const char* const chosen = std::getenv("TANDEM_KEYS");
  if (chosen != nullptr && chosen[0] == '/') return chosen;
  if (geteuid() == 0) return "/etc/tandemfs/keys";
  const char* const config = std::getenv("XDG_CONFIG_HOME");
  if (config != nullptr && config[0] == '/') return std::string(config) + "/tandemfs/keys";
  const char* const home = std::getenv("HOME");
  return std::string(home != nullptr ? home : "") + "/.config/tandemfs/keys";
}

Result<HostKey> HostKeys::Read(const std::string& path) const {
  ASSIGN_OR_RETURN(const Json json, ReadJson(path));
  HostKey key;
  key.place = path.substr(directory_.size() + 1);
  key.place.resize(key.place.size() - kSuffix.size());
  try {
    json.at("addresses").get_to(key.addresses);
    json.at("identity").get_to(key.identity);
    json.at("certificate").get_to(key.credentials.certificate);
    json.at("private_key").get_to(key.credentials.private_key);
    json.at("authority").get_to(key.credentials.authority);
    json.at("invitation").get_to(key.invitation);
    json.at("next_private_key").get_to(key.next_private_key);
  } catch (const Json::exception&) {
    return Damaged(path);
  }
  const bool fits =
      replica::CheckSignedBy({key.credentials.certificate, key.credentials.private_key},
                             key.credentials.authority)
          .has_value();
  if (!fits || key.addresses.empty()) return Damaged(path);
  return key;
}

std::vector<HostKey> HostKeys::FindIf(auto matches) const {
  std::error_code error;
  std::vector<std::string> paths;
  for (const auto& entry : std::filesystem::directory_iterator(directory_, error)) {
    const std::string name = entry.path().filename().string();
    if (name.ends_with(kSuffix) && !name.starts_with(kInvited)) {
      paths.push_back(directory_ + "/" + name);
    }
  }
  std::ranges::sort(paths);
  std::vector<HostKey> found;
  for (const std::string& path : paths) {
    auto key = Read(path);  // another file's trouble is not this one's
    if (key && matches(*key)) found.push_back(std::move(*key));
  }
  return found;
}

Result<std::optional<HostKey>> HostKeys::Find(const std::string& place) const {
  if (place.find('/') != std::string::npos) return std::optional<HostKey>();
  auto key = Read(PathOf(place));
  if (key) return std::optional<HostKey>(std::move(*key));
  if (!IsMissing(key.error())) return tl::unexpected<Error>(key.error());
  const size_t at = place.find('@');
  const std::string account = at == std::string::npos ? "" : place.substr(0, at);
  const std::string address = place.substr(at + 1);  // npos + 1 is 0
  std::vector<HostKey> fitting = FindIf([&](const HostKey& other) {
    return std::ranges::find(other.addresses, address) != other.addresses.end() &&
           (account.empty() || AccountOf(other) == account);
  });
  if (fitting.empty()) return std::optional<HostKey>();
  const bool is_one_account = std::ranges::all_of(fitting, [&fitting](const HostKey& fits) {
    return AccountOf(fits) == AccountOf(fitting.front());
  });
  if (!is_one_account) {
    std::string places;
    for (const HostKey& fits : fitting) places += " tls://" + AccountOf(fits) + "@" + address;
    return MakeError(
        ErrorKind::kUsage,
        "choose a key for tls://" + place + " (there are several: name one of" + places + ")",
        EINVAL);
  }
  return std::optional<HostKey>(std::move(fitting.front()));
}

Result<std::optional<HostKey>> HostKeys::FindInvited(const std::string& invitation) const {
  auto found = FindIf([&invitation](const HostKey& key) { return key.invitation == invitation; });
  if (found.empty()) return std::optional<HostKey>();
  return std::optional<HostKey>(std::move(found.front()));
}

std::string AccountOf(const HostKey& key) { return std::string(replica::AccountOf(key.identity)); }

std::string HostKeys::PathOfInvitation(const std::string& invitation) const {
  return directory_ + "/" + std::string(kInvited) + invitation.substr(0, kInvitationDigits) +
         std::string(kSuffix);
}

Result<LockedFile> HostKeys::Lock() const {
  RETURN_IF_ERROR(EnsureSecretDirectory(directory_));
  return LockedFile::Lock(directory_ + "/lock");
}

Status HostKeys::Store(const HostKey& key) const {
  return WriteJson(PathOf(key.place), {{"format", kFormat},
                                       {"addresses", key.addresses},
                                       {"identity", key.identity},
                                       {"certificate", key.credentials.certificate},
                                       {"private_key", key.credentials.private_key},
                                       {"authority", key.credentials.authority},
                                       {"invitation", key.invitation},
                                       {"next_private_key", key.next_private_key}});
}

Result<std::string> HostKeys::KeyForInvitation(const std::string& invitation) const {
  const std::string path = PathOfInvitation(invitation);
  const auto known = ReadJson(path);
  if (known) {
    const auto found = known->find("private_key");
    if (found == known->end() || !found->is_string()) return Damaged(path);
    return found->get<std::string>();
  }
  if (!IsMissing(known.error())) return tl::unexpected<Error>(known.error());
  ASSIGN_OR_RETURN(std::string key, replica::MakePrivateKey());
  RETURN_IF_ERROR(WriteJson(path, {{"format", kFormat}, {"private_key", key}}));
  return key;
}

Status HostKeys::ForgetInvitation(const std::string& invitation) const {
  const std::string path = PathOfInvitation(invitation);
  if (unlink(path.c_str()) == 0 || errno == ENOENT) return {};
  return ErrnoError("remove " + path);
}

Result<replica::Credentials> CredentialsFor(const std::string& url, const HostKeys& keys) {
  if (!url.starts_with(kTls)) return replica::Credentials();
  const std::string address = url.substr(kTls.size());
  ASSIGN_OR_RETURN(auto key, keys.Find(address));
  if (key) return std::move(key->credentials);
  return MakeError(ErrorKind::kUsage,
                   "connect to " + url + " (this host has no key for it, " + keys.PathOf(address) +
                       " is missing: run tandemd invite ACCOUNT --store DIR on that host, put the "
                       "line it prints in a file here, and mount with --replica [NAME=]@FILE)",
                   ENOENT);
}

}  // namespace tandem::tools
