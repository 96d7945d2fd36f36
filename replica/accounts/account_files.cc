#include "replica/accounts/account_files.h"

#include <nlohmann/json.hpp>

#include "meta/base/secret_file.h"

namespace tandem::replica {
namespace {

using Json = nlohmann::json;

constexpr int kFormat = 1;
// Enough for some hundred thousand identities.
constexpr size_t kMaxAccountsBytes = 64 << 20;
constexpr size_t kMaxKeyBytes = 64 << 10;

constexpr char kAuthority[] = "/authority.json";
constexpr char kDaemon[] = "/daemon.json";
constexpr char kLock[] = "/lock";

Status WriteKey(const std::string& path, const KeyedCertificate& key) {
  constexpr int kIndent = 2;
  const Json json = {
      {"format", kFormat}, {"certificate", key.certificate}, {"private_key", key.private_key}};
  return WriteSecretFile(path, json.dump(kIndent) + "\n");
}

bool IsMissing(const Error& error) {
  return error.kind() == ErrorKind::kSystem && error.code() == ENOENT;
}

}  // namespace

Result<Accounts> AccountFiles::Read() const {
  const auto text = ReadSecretFile(accounts_path_, kMaxAccountsBytes);
  if (!text && IsMissing(text.error())) return Accounts();
  if (!text) return tl::unexpected<Error>(text.error());
  return ParseAccounts(*text, accounts_path_);
}

Status AccountFiles::Change(const std::function<Result<bool>(Accounts&)>& change) {
  RETURN_IF_ERROR(EnsureSecretDirectory(directory_));
  ASSIGN_OR_RETURN(const LockedFile lock, LockedFile::Lock(directory_ + kLock));
  ASSIGN_OR_RETURN(Accounts accounts, Read());
  ASSIGN_OR_RETURN(const bool changed, change(accounts));
  if (!changed) return {};
  return WriteSecretFile(accounts_path_, FormatAccounts(accounts));
}

Result<KeyedCertificate> AccountFiles::ReadKey(const std::string& path) const {
  ASSIGN_OR_RETURN(const std::string text, ReadSecretFile(path, kMaxKeyBytes));
  const auto corrupt = [&path](const std::string& why) {
    return MakeError(ErrorKind::kCorrupt,
                     "read key file " + path + " (" + why + "; restore it from a backup)", EBADMSG);
  };
  // What the parser says may quote the text, which is secret.
  const Json json = Json::parse(text, nullptr, false);
  const auto text_at = [&json](const char* key) {
    const auto found = json.find(key);
    return found != json.end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  if (!json.is_object() || !json.contains("format") || !json["format"].is_number_integer()) {
    return corrupt("it is damaged");
  }
  if (json["format"] != kFormat) {
    return MakeError(ErrorKind::kCorrupt,
                     "read key file " + path + " (its format is " + json["format"].dump() +
                         ", and this tandemd knows only " + std::to_string(kFormat) +
                         ": upgrade tandemd)",
                     EPROTONOSUPPORT);
  }
  KeyedCertificate key{text_at("certificate"), text_at("private_key")};
  const auto of_certificate = KeyOfCertificate(key.certificate);
  const auto of_key = KeyOfPrivateKey(key.private_key);
  if (!of_certificate || !of_key) return corrupt("it is damaged");
  if (*of_certificate != *of_key) return corrupt("its key and its certificate do not match");
  return key;
}

Result<KeyedCertificate> AccountFiles::Authority() const {
  return ReadKey(directory_ + kAuthority);
}

// The authority is on stable storage before anything is signed with it. A daemon's certificate that
// is missing, or that another authority has signed, is made anew: hosts believe the authority.
Result<AccountFiles::Keys> AccountFiles::EnsureKeys() {
  RETURN_IF_ERROR(EnsureSecretDirectory(directory_));
  ASSIGN_OR_RETURN(const LockedFile lock, LockedFile::Lock(directory_ + kLock));
  auto authority = Authority();
  if (!authority && IsMissing(authority.error())) {
    ASSIGN_OR_RETURN(const Accounts accounts, Read());
    if (!accounts.identities.empty()) {
      return MakeError(ErrorKind::kCorrupt,
                       "read key file " + directory_ + kAuthority +
                           " (there is none, but hosts have enrolled with it: restore it from a "
                           "backup, or move " +
                           accounts_path_ + " away and invite the hosts again)",
                       ENOENT);
    }
    authority = MakeAuthority();
    if (authority) RETURN_IF_ERROR(WriteKey(directory_ + kAuthority, *authority));
  }
  if (!authority) return tl::unexpected<Error>(authority.error());

  auto daemon = ReadKey(directory_ + kDaemon);
  if (!daemon && !IsMissing(daemon.error())) return tl::unexpected<Error>(daemon.error());
  if (!daemon || !CheckSignedBy(*daemon, authority->certificate)) {
    daemon = MakeDaemonCertificate(*authority);
    if (!daemon) return tl::unexpected<Error>(daemon.error());
    RETURN_IF_ERROR(WriteKey(directory_ + kDaemon, *daemon));
  }
  return Keys{std::move(*authority), std::move(*daemon)};
}

}  // namespace tandem::replica
