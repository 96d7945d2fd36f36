// Decides what each peer may do. Any thread; called with each request, so it must be fast.
#pragma once

#include <optional>

#include "meta/base/result.h"
#include "replica/accounts/rights.h"
#include "replica/transport/peer_identity.h"
#include "replica/wire/messages.h"

namespace tandem::replica {

class AccountRegistry {
 public:
  virtual ~AccountRegistry() = default;
  // Returns kRefused if the peer may do nothing (a revoked key). The error's text is sent to the
  // peer: it says nothing that the peer may not know.
  virtual Result<Rights> RightsOf(const PeerIdentity& peer) = 0;
  // Answer the requests of these names. They may wait for the disk. The errors' texts are sent to
  // the peer, whatever their kind.
  virtual Result<Enrolled> Enrol(const replica::Enrol& request, const PeerIdentity& peer);
  virtual Result<Enrolled> Renew(const replica::Renew& request, const PeerIdentity& peer);
};

// Knows the account local only: root, the daemon's own user and peers over plain tcp belong to it.
// Another user of this host belongs to the account of the user's name.
class LocalRegistry final : public AccountRegistry {
 public:
  Result<Rights> RightsOf(const PeerIdentity& peer) override;
};

// Answers Enrol and Renew, which need no session; returns nothing for other requests.
std::optional<Reply> AnswerAboutKeys(AccountRegistry& registry, const RequestBody& request,
                                     const PeerIdentity& peer);

}  // namespace tandem::replica
