#include "tools/invite.h"

#include <pwd.h>
#include <sys/stat.h>

#include <ctime>

#include "meta/base/log.h"
#include "replica/accounts/account_files.h"
#include "replica/transport/token.h"
#include "replica/wire/messages.h"
#include "tools/account_list.h"
#include "tools/byte_size.h"
#include "tools/duration.h"
#include "tools/own_addresses.h"
#include "tools/print.h"
#include "tools/replica_url.h"

namespace tandem::tools {
namespace {

using replica::Accounts;

// Completes HOST[:PORT]. The rules are those of URLs.
Result<std::string> CheckAddress(const std::string& text) {
  constexpr std::string_view kScheme = "tcp://";
  // A host of loopback needs its port in a URL; here 7447 is what an address means without one.
  const size_t bracket = text.starts_with('[') ? text.find(']') : std::string::npos;
  const bool has_port =
      text.find(':', bracket == std::string::npos ? 0 : bracket) != std::string::npos;
  const std::string whole =
      std::string(kScheme) + text + (has_port ? "" : ":" + std::to_string(kDefaultPort));
  auto checked = CheckUrl(whole, UrlUse::kReplica);
  if (checked) return checked->substr(kScheme.size());
  return MakeError(ErrorKind::kUsage,
                   "--address " + text + ": HOST[:PORT] is expected, as in backup.example:7447",
                   EINVAL);
}

Result<std::vector<std::string>> AddressesOf(const InviteSettings& settings) {
  std::vector<std::string> addresses;
  for (const std::string& text : settings.addresses) {
    ASSIGN_OR_RETURN(addresses.emplace_back(), CheckAddress(text));
  }
  if (!addresses.empty()) return addresses;
  for (const std::string& own : OwnAddresses(kDefaultPort)) {
    if (auto checked = CheckAddress(own)) addresses.push_back(std::move(*checked));
  }
  if (addresses.size() > replica::kMaxTokenAddresses) addresses.resize(replica::kMaxTokenAddresses);
  if (!addresses.empty()) return addresses;
  return MakeError(ErrorKind::kUsage,
                   "find an address of this host (it has none but loopback: give --address "
                   "HOST[:PORT])",
                   EADDRNOTAVAIL);
}

Status CheckSettings(const InviteSettings& settings) {
  if (!replica::IsAccountName(settings.account)) {
    return MakeError(ErrorKind::kUsage,
                     "\"" + settings.account +
                         "\" cannot name an account: 1 to 32 of a-z, 0-9, '.', '_' and '-' are "
                         "expected, beginning with a letter or a digit, and not \"local\"",
                     EINVAL);
  }
  if (!replica::IsVolumePattern(settings.volumes)) {
    return MakeError(ErrorKind::kUsage,
                     "--volume " + settings.volumes +
                         ": a volume's name or a pattern of names is expected, as in 'db-*'",
                     EINVAL);
  }
  if (settings.addresses.size() > replica::kMaxTokenAddresses) {
    return MakeError(ErrorKind::kUsage, "give --address at most 32 times", EINVAL);
  }
  return {};
}

void Explain(const std::string& store, const InviteSettings& settings,
             const replica::Invitation& invitation, const std::vector<std::string>& addresses) {
  struct stat lock;
  if (stat((store + "/.lock").c_str(), &lock) != 0) {
    Complain("tandemd", "notice: no tandemd has used " + store + " yet");
  }
  if (getpwnam(settings.account.c_str()) != nullptr) {
    Complain("tandemd", "notice: user " + settings.account +
                            " of this host has the same account, over the local socket");
  }
  std::string listed;
  for (const std::string& address : addresses) listed += " " + address;
  Complain("tandemd", "an invitation for one host to account " + settings.account + ", volumes " +
                          invitation.volumes + (invitation.read_only ? ", read only" : "") +
                          ", until " + InWords(invitation.expires) +
                          "; this daemon is to be found at" + listed);
  Complain("tandemd",
           "the line on stdout is a secret. On that host: tandemfs SOURCE MOUNTPOINT --replica "
           "[NAME=]@FILE, with the line in FILE (chmod 600), or @- to read it from stdin");
}

}  // namespace

void DeclareInvite(CLI::App& command, InviteSettings& settings) {
  command.add_option("ACCOUNT", settings.account, "The account; its volumes are STORE/ACCOUNT/...")
      ->required();
  command
      .add_option(
          "--volume", settings.volumes,
          "The volumes the host may reach, a pattern as of a shell. Default: all of ACCOUNT")
      ->type_name("PATTERN");
  command.add_flag("--read-only", settings.read_only, "The host may connect, but not write");
  command.add_option("--expires", settings.expires, "How long it is good: 30s, 15m, 1h, 7d")
      ->type_name("TIME")
      ->capture_default_str();
  command
      .add_option("--address", settings.addresses,
                  "HOST[:PORT] at which the host reaches this daemon; may be repeated.\n"
                  "Default: this host's name and the addresses of its interfaces, port 7447")
      ->type_name("HOST[:PORT]")
      ->allow_extra_args(false);
  command.add_flag("--allow-special", settings.allow_special,
                   "Let the account set setuid and setgid, device nodes, file capabilities and\n"
                   "trusted.* attributes in its trees");
  command
      .add_option("--quota", settings.quota,
                  "The most bytes all volumes of the account may take, as in 500G; 0: no limit")
      ->type_name("BYTES");
}

Status Invite(const std::string& store, const InviteSettings& settings) {
  RETURN_IF_ERROR(CheckSettings(settings));
  ASSIGN_OR_RETURN(const auto lifetime, ParseDuration(settings.expires));
  if (lifetime < std::chrono::seconds(1)) {
    return MakeError(ErrorKind::kUsage,
                     "--expires " + settings.expires + ": at least a second is needed", EINVAL);
  }
  replica::Token token;
  token.account = settings.account;
  ASSIGN_OR_RETURN(token.addresses, AddressesOf(settings));
  replica::AccountFiles files(store);
  ASSIGN_OR_RETURN(const replica::AccountFiles::Keys keys, files.EnsureKeys());
  ASSIGN_OR_RETURN(token.authority_digest,
                   replica::DigestOfCertificate(keys.authority.certificate));
  ASSIGN_OR_RETURN(token.secret, replica::RandomBytes(replica::kInvitationSecretBytes));

  replica::Invitation invitation;
  invitation.secret_digest = replica::Sha256Hex(token.secret);
  invitation.account = settings.account;
  invitation.volumes = settings.volumes;
  invitation.read_only = settings.read_only;
  invitation.created = std::time(nullptr);
  invitation.expires =
      invitation.created + std::chrono::duration_cast<std::chrono::seconds>(lifetime).count();
  RETURN_IF_ERROR(files.Change([&](Accounts& all) -> Result<bool> {
    replica::Account* account = all.Find(settings.account);
    if (account == nullptr) {
      account = &all.accounts.emplace_back();
      account->name = settings.account;
    }
    account->may_set_special |= settings.allow_special;
    if (!settings.quota.empty()) {
      ASSIGN_OR_RETURN(account->quota.bytes, ParseByteSize("--quota", settings.quota));
    }
    TidyUp(all, invitation.created);
    all.invitations.push_back(invitation);
    return true;
  }));
  Explain(store, settings, invitation, token.addresses);
  PrintLine("{}", replica::FormatToken(token));
  return {};
}

}  // namespace tandem::tools
