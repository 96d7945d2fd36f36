// A replica daemon that also listens on tls://, and hosts that are joined to it as people do it:
// by an invitation. Real programs, real connections.
#pragma once

#include <string>
#include <vector>

#include "replica/transport/credentials.h"
#include "tests/mount_fixture.h"

namespace tandem::test {

class EnrolledMount : public MountTest {
 protected:
  // Starts the daemon. mount_ will enrol with the token that Invite() makes; it is not started.
  void SetUp() override;

  // tandemd WORDS... --store STORE.
  Outcome Tandemd(std::vector<std::string> words);
  // Returns the token; `more` are options of tandemd invite.
  std::string InviteTo(const std::string& account, std::vector<std::string> more = {});
  // Invites to account alice and puts the token where mount_ will find it. Returns it.
  std::string Invite(std::vector<std::string> more = {});
  // Invites, starts mount_ and waits until all is applied.
  ::testing::AssertionResult StartEnrolled();
  // Enrols another host, whose keys lie in a directory of their own, with a token of this account.
  // Returns what it proves itself with.
  replica::Credentials EnrolHost(const std::string& account, std::vector<std::string> more = {});

  std::string Tree() const { return replica_.store() + "/alice/" + kVolume + "/tree"; }
  // Syncs, then compares the source with the account's tree.
  ::testing::AssertionResult IsSame();
  // The first identity of an account, as account list --json has it.
  Json Identity(const std::string& account = "alice");

  const uint16_t port_ = FreePort();
  const std::string tls_url_ = "tls://127.0.0.1:" + std::to_string(port_);
  // Where a token says the daemon is.
  std::string address_ = "127.0.0.1:" + std::to_string(port_);
  const std::string keys_ = scratch_.Path("keys");
  const std::string token_file_ = scratch_.Path("token");
  int hosts_ = 0;
};

}  // namespace tandem::test
