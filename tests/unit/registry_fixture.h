// A store's account files, a registry that reads them, and hosts that enrol with it.
#pragma once

#include <gmock/gmock.h>

#include <atomic>
#include <functional>

#include "meta/base/hex.h"
#include "replica/accounts/file_registry.h"
#include "replica/transport/token.h"
#include "tests/files.h"
#include "tests/scratch.h"

namespace tandem::replica {

class RegistryTest : public ::testing::Test {
 protected:
  using Kind = PeerIdentity::Kind;

  std::string FileOf(const std::string& name) const { return store_ + "/.tandemd/" + name; }

  // Invites as `tandemd invite` does; returns the secret.
  std::string Invite(const std::string& account, int64_t seconds = 3600,
                     const std::string& volumes = "*", bool read_only = false) {
    std::string secret = RandomBytes(kInvitationSecretBytes).value();
    Invitation invitation;
    invitation.secret_digest = Sha256Hex(secret);
    invitation.account = account;
    invitation.volumes = volumes;
    invitation.read_only = read_only;
    invitation.created = now_;
    invitation.expires = now_ + seconds;
    EXPECT_TRUE(files_.EnsureKeys());
    Change([&](Accounts& all) {
      if (all.Find(account) == nullptr) all.accounts.push_back({account, {}, false});
      all.invitations.push_back(invitation);
    });
    return secret;
  }
  // Changes the accounts as `tandemd account` does.
  void Change(const std::function<void(Accounts&)>& change) {
    const auto changed = files_.Change([&](Accounts& all) -> Result<bool> {
      change(all);
      return true;
    });
    EXPECT_TRUE(changed) << changed.error().ToString();
  }

  static PeerIdentity Stranger() { return {Kind::kStranger, 0, "", "", "192.0.2.9"}; }
  static PeerIdentity HostWith(const std::string& private_key, const std::string& name) {
    return {Kind::kKey, 0, KeyOfPrivateKey(private_key).value(), name, "192.0.2.9"};
  }
  Result<Enrolled> Enrol(const std::string& secret, const std::string& private_key,
                         const std::string& host = "web.example") {
    const std::string request = MakeCertificateRequest(private_key).value();
    return registry_.Enrol({secret, request, host}, Stranger());
  }
  std::string WhyNoRights(const PeerIdentity& peer) {
    const auto rights = registry_.RightsOf(peer);
    EXPECT_FALSE(rights);
    if (rights) return "";
    EXPECT_EQ(rights.error().kind(), ErrorKind::kRefused);
    return rights.error().ToString();
  }

  const test::Scratch scratch_;
  const std::string store_ = scratch_.Directory("store");
  std::atomic<int64_t> now_{1'700'000'000};
  AccountFiles files_{store_};
  FileRegistry registry_{store_, [this] { return now_.load(); }};
};

}  // namespace tandem::replica
