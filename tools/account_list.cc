#include "tools/account_list.h"

#include <ctime>

#include "tools/print.h"

namespace tandem::tools {
namespace {

using replica::Accounts;
using replica::Invitation;
using replica::KnownIdentity;

constexpr fmt::string_view kColumns = "{:<44} {:<16} {:<10} {:<17} {}";

template <typename... T>
void PrintColumns(const T&... values) {
  PrintFormatted(kColumns, fmt::make_format_args(values...));
}

const char* RightsOf(bool read_only) { return read_only ? "read only" : "write"; }

std::string StateOf(const KnownIdentity& identity) {
  if (identity.revoked) return "revoked";
  if (identity.next_used != 0) return "renewed";
  if (!identity.next_key.empty()) return "being renewed";
  return identity.must_renew ? "to be renewed" : "good";
}

std::string StateOf(const Invitation& invitation) {
  std::string state = invitation.identity.empty() ? "open" : "used by " + invitation.identity;
  if (invitation.misused) state += "; ANOTHER HOST HAS TRIED IT";
  return state + ", until " + InWords(invitation.expires);
}

std::string DescribeAccount(const replica::Account& account) {
  std::string text;
  if (account.quota.bytes != 0) text += "quota " + std::to_string(account.quota.bytes) + " bytes";
  if (account.may_set_special) text += text.empty() ? "special files" : ", special files";
  return text;
}

}  // namespace

std::string InWords(int64_t time) {
  if (time == 0) return "never";
  const time_t seconds = time;
  std::tm local = {};
  char text[32] = "";
  if (localtime_r(&seconds, &local) == nullptr ||
      std::strftime(text, sizeof text, "%Y-%m-%d %H:%M", &local) == 0) {
    return std::to_string(time);
  }
  return text;
}

void PrintAccounts(const Accounts& all, int64_t now) {
  if (all.accounts.empty()) {
    PrintLine("no accounts yet: tandemd invite ACCOUNT makes one");
    return;
  }
  PrintColumns("IDENTITY", "VOLUMES", "RIGHTS", "LAST USE", "STATE");
  for (const replica::Account& account : all.accounts) {
    PrintColumns(account.name, "", "", "", DescribeAccount(account));
    for (const KnownIdentity& identity : all.identities) {
      if (replica::AccountOf(identity.name) != account.name) continue;
      PrintColumns("  " + identity.name, identity.volumes, RightsOf(identity.read_only),
                   InWords(identity.last_used), StateOf(identity));
    }
    for (const Invitation& invitation : all.invitations) {
      if (invitation.account != account.name || !IsOpen(invitation, now)) continue;
      PrintColumns("  (invitation)", invitation.volumes, RightsOf(invitation.read_only), "",
                   StateOf(invitation));
    }
  }
}

void PrintAccountsJson(const Accounts& all, int64_t now) {
  Json accounts = Json::array();
  for (const replica::Account& account : all.accounts) {
    Json identities = Json::array();
    for (const KnownIdentity& identity : all.identities) {
      if (replica::AccountOf(identity.name) != account.name) continue;
      identities.push_back({{"name", identity.name},
                            {"key", identity.key},
                            {"volumes", identity.volumes},
                            {"read_only", identity.read_only},
                            {"created", identity.created},
                            {"last_used", identity.last_used},
                            {"state", StateOf(identity)}});
    }
    Json invitations = Json::array();
    for (const Invitation& invitation : all.invitations) {
      if (invitation.account != account.name || !IsOpen(invitation, now)) continue;
      invitations.push_back({{"volumes", invitation.volumes},
                             {"read_only", invitation.read_only},
                             {"created", invitation.created},
                             {"expires", invitation.expires},
                             {"identity", invitation.identity},
                             {"misused", invitation.misused}});
    }
    accounts.push_back({{"name", account.name},
                        {"quota_bytes", account.quota.bytes},
                        {"quota_objects", account.quota.objects},
                        {"quota_volumes", account.quota.volumes},
                        {"allow_special", account.may_set_special},
                        {"identities", std::move(identities)},
                        {"invitations", std::move(invitations)}});
  }
  PrintJson({{"accounts", std::move(accounts)}});
}

}  // namespace tandem::tools
