// How hosts get their certificates: Enrol and Renew.
#include <algorithm>
#include <optional>

#include "meta/base/log.h"
#include "meta/base/printable.h"
#include "replica/accounts/file_registry.h"

namespace tandem::replica {
namespace {

constexpr int64_t kLogRefusalsEvery = 60;
constexpr char kAskAgain[] = "ask for another: tandemd invite ACCOUNT --store DIR, on that host";

Error Refusal(std::string what) { return {ErrorKind::kRefused, EPERM, std::move(what)}; }

// What a peer is told of an error whose text names files of this host.
tl::unexpected<Error> Conceal(const Error& error) {
  LogError("{}", error.ToString());
  return tl::unexpected<Error>(
      Refusal("certify this host's key (tandemd cannot; its log on the backup host says why)"));
}

// Compares with every invitation, so that the time it takes tells nothing of the secret.
Invitation* FindInvitation(Accounts& accounts, const std::string& digest) {
  Invitation* found = nullptr;
  for (Invitation& invitation : accounts.invitations) {
    if (SameSecret(invitation.secret_digest, digest)) found = &invitation;
  }
  return found;
}

Error NoInvitation() {
  return Refusal(std::string("enrol (this invitation is unknown here, has expired or was "
                             "withdrawn; ") +
                 kAskAgain + ")");
}

// Returns why the invitation, null if there is none, cannot be used. Only a peer that knows its
// secret learns more than that.
std::optional<Error> WhyNotOpen(const Invitation* invitation, int64_t now) {
  if (invitation == nullptr) return NoInvitation();
  if (IsOpen(*invitation, now)) return std::nullopt;
  if (now >= invitation->expires) {
    return Refusal(std::string("enrol (by that host's clock this invitation has expired; ") +
                   kAskAgain + ")");
  }
  return Refusal(
      "enrol (this invitation was made at a later time than that host's clock shows now: set that "
      "clock, and try again)");
}

struct Outcome {
  std::optional<Error> refusal;
  std::string name;     // of the identity
  bool is_new = false;  // the identity
};

// The key's first use of the invitation: makes the identity.
Outcome BindKey(Accounts& all, Invitation& invitation, const std::string& key,
                const std::string& host, int64_t now) {
  if (const KnownIdentity* other = all.FindKey(key)) {
    return {Refusal("enrol (this key is that of " + other->name +
                    " already; a host makes a new key for each invitation)"),
            {}};
  }
  KnownIdentity identity;
  identity.name = NameFor(all, invitation.account, host, key);
  identity.key = key;
  identity.volumes = invitation.volumes;
  identity.read_only = invitation.read_only;
  identity.created = identity.last_used = now;
  invitation.key = key;
  invitation.identity = identity.name;
  all.identities.push_back(identity);
  return {std::nullopt, identity.name, true};
}

Outcome UseInvitation(Accounts& all, Invitation& invitation, const std::string& key,
                      const std::string& host, int64_t now) {
  if (invitation.key.empty()) return BindKey(all, invitation, key, host, now);
  if (invitation.key != key) {
    return {Refusal(std::string("enrol (a different host has used this invitation already. If that "
                                "was not yours, somebody else has the token: have it revoked "
                                "there with tandemd account revoke, and ") +
                    kAskAgain + ")"),
            invitation.identity};
  }
  const KnownIdentity* const identity = all.FindIdentity(invitation.identity);
  if (identity == nullptr || identity->revoked) {
    return {Refusal(std::string("enrol (the key that this invitation has given was revoked; ") +
                    kAskAgain + ")"),
            {}};
  }
  return {std::nullopt, identity->name};
}

}  // namespace

// Asks without the lock on the files, so that strangers cannot keep them locked.
Status FileRegistry::FitsOpenInvitation(const std::string& secret_digest) {
  MutexLock lock(mutex_);
  Refresh();
  if (is_damaged_) {
    return tl::unexpected<Error>(
        Refusal("enrol (tandemd cannot read its accounts; its log on the backup host says why)"));
  }
  const auto why_not = WhyNotOpen(FindInvitation(accounts_, secret_digest), clock_());
  if (!why_not) return {};
  return tl::unexpected<Error>(*why_not);
}

void FileRegistry::NoteRefusedEnrolment(const PeerIdentity& peer) {
  MutexLock lock(mutex_);
  ++refused_enrolments_;
  const int64_t now = clock_();
  if (refusals_logged_ != 0 && std::abs(now - refusals_logged_) < kLogRefusalsEvery) return;
  refusals_logged_ = now;
  LogWarning("enrolments refused: {}, the last from {} (no invitation that is open fits)",
             refused_enrolments_, peer.address);
}

Result<Enrolled> FileRegistry::Enrol(const replica::Enrol& request, const PeerIdentity& peer) {
  if (peer.kind != PeerIdentity::Kind::kStranger && peer.kind != PeerIdentity::Kind::kKey) {
    return tl::unexpected<Error>(
        Refusal("enrol over a connection that is not encrypted (use tls://)"));
  }
  const std::string digest = Sha256Hex(request.secret);
  if (auto fits = FitsOpenInvitation(digest); !fits) {
    NoteRefusedEnrolment(peer);
    return tl::unexpected<Error>(fits.error());
  }
  const auto key = KeyOfRequest(request.certificate_request);
  if (!key) return tl::unexpected<Error>(Refusal("enrol: " + key.error().ToString()));

  Outcome outcome;
  bool is_first_misuse = false;
  const auto changed = files_.Change([&](Accounts& all) -> Result<bool> {
    const int64_t now = clock_();
    Invitation* const invitation = FindInvitation(all, digest);
    outcome.refusal = WhyNotOpen(invitation, now);
    if (outcome.refusal) return false;
    outcome = UseInvitation(all, *invitation, *key, request.host, now);
    is_first_misuse = !invitation->key.empty() && invitation->key != *key && !invitation->misused;
    invitation->misused |= is_first_misuse;
    return outcome.is_new || is_first_misuse;
  });
  if (!changed) return Conceal(changed.error());
  if (outcome.refusal && !is_first_misuse) NoteRefusedEnrolment(peer);
  if (outcome.refusal && is_first_misuse) {
    LogWarning("{} tried to use {} and was refused: {}", peer.address,
               outcome.name.empty() ? "an invitation" : "the invitation of " + outcome.name,
               outcome.refusal->context());
  }
  if (outcome.refusal) return tl::unexpected<Error>(*outcome.refusal);
  if (outcome.is_new) LogInfo("{} has enrolled, from {}", outcome.name, peer.address);

  const auto authority = files_.Authority();
  if (!authority) return Conceal(authority.error());
  auto certificate = SignRequest(*authority, request.certificate_request, outcome.name);
  if (!certificate) return Conceal(certificate.error());
  return Enrolled{std::move(*certificate), authority->certificate, outcome.name};
}

Result<Enrolled> FileRegistry::Renew(const replica::Renew& request, const PeerIdentity& peer) {
  if (peer.kind != PeerIdentity::Kind::kKey) {
    return tl::unexpected<Error>(Refusal("renew a key over a connection that shows none"));
  }
  ASSIGN_OR_RETURN(const Rights rights, RightsOf(peer));
  if (request.certificate_request.empty()) {
    MutexLock lock(mutex_);
    const KnownIdentity* const identity = accounts_.FindIdentity(rights.identity);
    const bool must = identity != nullptr && identity->must_renew && identity->next_used == 0 &&
                      identity->next_key != peer.key;
    return Enrolled{"", "", rights.identity, must};
  }
  const auto key = KeyOfRequest(request.certificate_request);
  if (!key) return tl::unexpected<Error>(Refusal("renew: " + key.error().ToString()));
  std::unordered_map<std::string, int64_t> next_used;
  {
    MutexLock lock(mutex_);
    next_used = next_used_;
  }
  std::optional<Error> refusal;
  const auto changed = files_.Change([&](Accounts& all) -> Result<bool> {
    KnownIdentity* const identity = all.FindKey(peer.key);
    if (identity == nullptr || identity->name != peer.name || identity->revoked) {
      refusal = Refusal("renew the key of " + peer.name + " (it was revoked)");
      return false;
    }
    if (identity->next_key == *key) return false;  // a repetition
    const bool is_replaced = identity->next_used != 0 || next_used.contains(identity->next_key);
    if (peer.key == identity->key && is_replaced) {
      refusal = Refusal("renew the former key of " + peer.name + " (it has a new one)");
      return false;
    }
    if (all.FindKey(*key) != nullptr) {
      refusal = Refusal("renew the key of " + peer.name + " (that key is in use already)");
      return false;
    }
    if (peer.key == identity->next_key) {
      // The former key's grace ends early: this host has moved on twice.
      identity->key = identity->next_key;
    }
    identity->next_key = *key;
    identity->next_used = 0;
    return true;
  });
  if (!changed) return Conceal(changed.error());
  if (refusal) return tl::unexpected<Error>(*refusal);
  const auto authority = files_.Authority();
  if (!authority) return Conceal(authority.error());
  auto certificate = SignRequest(*authority, request.certificate_request, peer.name);
  if (!certificate) return Conceal(certificate.error());
  LogInfo("{} has a new key, from {}", peer.name, peer.address);
  return Enrolled{std::move(*certificate), authority->certificate, peer.name};
}

}  // namespace tandem::replica
