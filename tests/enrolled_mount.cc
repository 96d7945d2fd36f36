#include "tests/enrolled_mount.h"

#include <sys/stat.h>

#include "replica/transport/token.h"
#include "tests/files.h"
#include "tools/enrolment.h"

namespace tandem::test {

void EnrolledMount::SetUp() {
  MountTest::SetUp();
  if (IsSkipped()) return;
  replica_.more() = {"--listen", tls_url_};
  ASSERT_TRUE(replica_.Start());
  mount_.options().environment["TANDEM_KEYS"] = keys_;
  mount_.options().replicas = {"backup=@" + token_file_};
  Write(source_ + "/file", "content");
}

Outcome EnrolledMount::Tandemd(std::vector<std::string> words) {
  words.insert(words.begin(), Program("tandemd"));
  words.insert(words.end(), {"--store", replica_.store()});
  return Execute(std::move(words));
}

std::string EnrolledMount::InviteTo(const std::string& account, std::vector<std::string> more) {
  std::vector<std::string> words = {"invite",      account,     "--address",
                                    "127.0.0.1:1", "--address", address_};
  words.insert(words.end(), more.begin(), more.end());
  const Outcome invited = Tandemd(std::move(words));
  EXPECT_EQ(invited.code, 0) << invited;
  return invited.out.substr(0, invited.out.find('\n'));
}

std::string EnrolledMount::Invite(std::vector<std::string> more) {
  std::string token = InviteTo("alice", std::move(more));
  Write(token_file_, token + "\n");
  EXPECT_EQ(0, chmod(token_file_.c_str(), 0600));
  return token;
}

::testing::AssertionResult EnrolledMount::StartEnrolled() {
  Invite();
  if (auto started = mount_.Start(); !started) return started;
  return IsSame();
}

replica::Credentials EnrolledMount::EnrolHost(const std::string& account,
                                              std::vector<std::string> more) {
  const auto token = replica::ParseToken(InviteTo(account, std::move(more)));
  const tools::HostKeys keys(scratch_.Path("keys." + std::to_string(++hosts_)));
  const auto url = tools::Enrol(token.value(), keys, tools::AskOverNetwork);
  EXPECT_TRUE(url) << url.error().ToString();
  return url ? tools::CredentialsFor(*url, keys).value() : replica::Credentials();
}

::testing::AssertionResult EnrolledMount::IsSame() {
  if (auto synced = mount_.Sync(); !synced) return synced;
  return SameTrees(source_, Tree());
}

Json EnrolledMount::Identity(const std::string& account) {
  const Json all = Json::parse(Tandemd({"account", "list", "--json"}).out);
  for (const Json& known : all["accounts"]) {
    if (known["name"] == account) return known["identities"][0];
  }
  return Json::object();
}

}  // namespace tandem::test
