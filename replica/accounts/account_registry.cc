#include "replica/accounts/account_registry.h"

#include <pwd.h>
#include <unistd.h>

#include <vector>

namespace tandem::replica {
namespace {

// Returns the user's name, or its number if it has none.
std::string NameOfUser(uid_t user) {
  std::vector<char> buffer(16 << 10);
  passwd entry;
  passwd* found = nullptr;
  if (getpwuid_r(user, &entry, buffer.data(), buffer.size(), &found) == 0 && found != nullptr) {
    return found->pw_name;
  }
  return "uid-" + std::to_string(user);
}

}  // namespace

Result<Enrolled> AccountRegistry::Enrol(const replica::Enrol&, const PeerIdentity&) {
  return MakeError(ErrorKind::kRefused, "enrol a host (this tandemd has no accounts)", EPERM);
}

Result<Enrolled> AccountRegistry::Renew(const replica::Renew&, const PeerIdentity&) {
  return MakeError(ErrorKind::kRefused, "renew a key (this tandemd has no accounts)", EPERM);
}

Result<Rights> LocalRegistry::RightsOf(const PeerIdentity& peer) {
  Rights rights;
  switch (peer.kind) {
    case PeerIdentity::Kind::kPlaintext:
      rights.identity = "plaintext";
      break;
    case PeerIdentity::Kind::kUser:
      rights.identity = "user " + NameOfUser(peer.user);
      if (peer.user == 0 || peer.user == geteuid()) break;
      rights.account = NameOfUser(peer.user);
      rights.may_set_special = false;
      if (rights.account == kLocalAccount) {
        return MakeError(ErrorKind::kRefused,
                         "serve user local (its name is that of the account of root; give the "
                         "user another name)",
                         EPERM);
      }
      break;
    case PeerIdentity::Kind::kKey:
    case PeerIdentity::Kind::kStranger:
      rights.may_only_enrol = true;
      rights.may_write = rights.may_set_special = false;
      break;
  }
  return rights;
}

std::optional<Reply> AnswerAboutKeys(AccountRegistry& registry, const RequestBody& request,
                                     const PeerIdentity& peer) {
  const auto answer = [](Result<Enrolled> enrolled) -> Reply {
    if (!enrolled) return {ReplyCode::kRefused, enrolled.error().context(), {}, {}};
    return {ReplyCode::kOk, "", {}, std::move(*enrolled)};
  };
  if (const auto* enrol = std::get_if<Enrol>(&request)) return answer(registry.Enrol(*enrol, peer));
  if (const auto* renew = std::get_if<Renew>(&request)) return answer(registry.Renew(*renew, peer));
  return std::nullopt;
}

}  // namespace tandem::replica
