// `tandemd invite` and `tandemd account`, the programs.
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "replica/accounts/file_registry.h"
#include "replica/transport/token.h"
#include "tests/files.h"
#include "tests/process.h"
#include "tests/scratch.h"

namespace tandem::test {
namespace {

using Json = nlohmann::json;
using replica::Token;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class AccountCommands : public ::testing::Test {
 protected:
  Outcome Tandemd(std::vector<std::string> words, std::vector<std::string> more = {}) {
    words.insert(words.begin(), Program("tandemd"));
    words.insert(words.end(), {"--store", store_});
    words.insert(words.end(), more.begin(), more.end());
    return Execute(std::move(words));
  }
  Token Invite(const std::string& account, std::vector<std::string> more = {}) {
    const Outcome outcome = Tandemd({"invite", account}, std::move(more));
    EXPECT_EQ(outcome.code, 0) << outcome;
    const auto token = replica::ParseToken(outcome.out);
    EXPECT_TRUE(token) << outcome;
    return token.value_or(Token());
  }
  // Returns the identity's name.
  std::string Enrol(const Token& token) {
    key_ = replica::MakePrivateKey().value();
    const std::string request = replica::MakeCertificateRequest(key_).value();
    const auto enrolled = registry_.Enrol({token.secret, request, "web"},
                                          {replica::PeerIdentity::Kind::kStranger, 0, "", "", ""});
    EXPECT_TRUE(enrolled) << enrolled.error().ToString();
    return enrolled ? enrolled->name : "";
  }
  bool IsServed(const std::string& name) {
    return registry_
        .RightsOf({replica::PeerIdentity::Kind::kKey, 0, replica::KeyOfPrivateKey(key_).value(),
                   name, ""})
        .has_value();
  }
  Json Listed() { return Json::parse(Tandemd({"account", "list"}, {"--json"}).out); }

  const Scratch scratch_;
  const std::string store_ = scratch_.Directory("store");
  replica::FileRegistry registry_{store_};
  std::string key_;
};

TEST_F(AccountCommands, InvitePrintsTheTokenAloneAndExplainsOnStderr) {
  const Outcome outcome =
      Tandemd({"invite", "alice"}, {"--address", "Backup.example", "--address", "[::1]:9"});
  ASSERT_EQ(outcome.code, 0) << outcome;
  EXPECT_EQ(std::ranges::count(outcome.out, '\n'), 1);
  const auto token = replica::ParseToken(outcome.out);
  ASSERT_TRUE(token) << token.error().ToString();
  EXPECT_EQ(token->addresses, (std::vector<std::string>{"backup.example:7447", "[::1]:9"}));
  EXPECT_EQ(token->account, "alice");
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("--replica [NAME=]@FILE"), HasSubstr("secret"),
                                 Not(HasSubstr("tandem-invite-1"))));
  EXPECT_EQ(token->authority_digest,
            replica::DigestOfCertificate(registry_.OwnCredentials()->authority).value());
  EXPECT_FALSE(Invite("alice").addresses.empty()) << "this host's own";
}

TEST_F(AccountCommands, ListShowsAccountsKeysAndInvitations) {
  EXPECT_THAT(Tandemd({"account", "list"}).out, HasSubstr("no accounts yet"));
  const std::string name = Enrol(Invite("alice", {"--volume", "db-*", "--quota", "2K"}));
  Invite("bob", {"--read-only", "--allow-special"});
  const std::string text = Tandemd({"account", "list"}).out;
  EXPECT_THAT(text, AllOf(HasSubstr(name), HasSubstr("db-*"), HasSubstr("LAST USE"),
                          HasSubstr("read only"), HasSubstr("open"), HasSubstr("quota 2048")));
  const Json accounts = Listed()["accounts"];
  ASSERT_EQ(accounts.size(), 2u) << accounts;
  EXPECT_EQ(accounts[0]["name"], "alice");
  EXPECT_EQ(accounts[0]["quota_bytes"], 2048);
  EXPECT_EQ(accounts[0]["identities"][0]["name"], name);
  EXPECT_EQ(accounts[0]["identities"][0]["state"], "good");
  EXPECT_EQ(accounts[1]["allow_special"], true);
  EXPECT_EQ(accounts[1]["invitations"][0]["read_only"], true);
}

TEST_F(AccountCommands, RevokeBitesWhileTheDaemonRuns) {
  const Token token = Invite("alice");
  const std::string name = Enrol(token);
  EXPECT_TRUE(IsServed(name));
  EXPECT_EQ(Tandemd({"account", "revoke", name}).code, 0);
  EXPECT_FALSE(IsServed(name));
  EXPECT_EQ(Listed()["accounts"][0]["identities"][0]["state"], "revoked");
  const std::string another = Enrol(Invite("alice"));
  Invite("alice");
  EXPECT_EQ(Tandemd({"account", "revoke", "alice"}).code, 0);
  EXPECT_FALSE(IsServed(another));
  EXPECT_TRUE(Listed()["accounts"][0]["invitations"].empty()) << "open ones are withdrawn";
}

TEST_F(AccountCommands, RotateAndRemove) {
  const std::string name = Enrol(Invite("alice"));
  EXPECT_EQ(Tandemd({"account", "rotate", "alice"}).code, 0);
  EXPECT_TRUE(IsServed(name));
  EXPECT_EQ(Listed()["accounts"][0]["identities"][0]["state"], "to be renewed");
  EXPECT_THAT(Tandemd({"account", "remove", name}).out, HasSubstr("volumes are still in"));
  EXPECT_FALSE(IsServed(name));
  EXPECT_EQ(Listed()["accounts"].size(), 1u);
  EXPECT_EQ(Tandemd({"account", "remove", "alice"}).code, 0);
  EXPECT_TRUE(Listed()["accounts"].empty());
}

TEST_F(AccountCommands, MistakesAreNamed) {
  EXPECT_THAT(Tandemd({"invite", "local"}).err, HasSubstr("cannot name an account"));
  EXPECT_THAT(Tandemd({"invite", "../x"}).err, HasSubstr("cannot name an account"));
  EXPECT_THAT(Tandemd({"invite", "a"}, {"--volume", "a/b"}).err, HasSubstr("--volume a/b"));
  EXPECT_THAT(Tandemd({"invite", "a"}, {"--expires", "soon"}).err, HasSubstr("\"soon\""));
  EXPECT_THAT(Tandemd({"invite", "a"}, {"--quota", "much"}).err, HasSubstr("--quota much"));
  EXPECT_THAT(Tandemd({"invite", "a"}, {"--address", "h:x"}).err, HasSubstr("--address h:x"));
  EXPECT_THAT(Tandemd({"invite", "a"}, {"--nothing"}).err, HasSubstr("invite --help"));
  const Outcome unknown = Tandemd({"account", "revoke", "nobody"});
  EXPECT_EQ(unknown.code, 2);
  EXPECT_THAT(unknown.err, AllOf(HasSubstr("nobody"), HasSubstr("account list")));
  EXPECT_THAT(Execute(std::vector<std::string>{Program("tandemd"), "invite", "a", "--store",
                                               store_ + "/none"})
                  .err,
              HasSubstr(store_ + "/none"));
  EXPECT_EQ(Execute(std::vector<std::string>{Program("tandemd"), "invite", "a"}).code, 2);
  EXPECT_FALSE(std::filesystem::exists(store_ + "/.tandemd/accounts.json"));
}

TEST_F(AccountCommands, ADamagedFileIsNamedAndLeftAlone) {
  Invite("alice");
  const std::string path = store_ + "/.tandemd/accounts.json";
  Write(path, "garbage");
  for (const std::vector<std::string>& command : {std::vector<std::string>{"account", "list"},
                                                  {"account", "revoke", "alice"},
                                                  {"invite", "alice"}}) {
    const Outcome outcome = Tandemd(command);
    EXPECT_EQ(outcome.code, 1) << outcome;
    EXPECT_THAT(outcome.err, AllOf(HasSubstr(path), HasSubstr("restore it from a backup")));
  }
  EXPECT_EQ(Read(path), "garbage");
}

// The daemon may run as a user of its own; the administrator gives commands as root.
TEST_F(AccountCommands, OfRootMakeFilesForTheOwnerOfTheStore) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  constexpr uid_t kDaemonUser = 4321;
  ASSERT_EQ(0, chown(store_.c_str(), kDaemonUser, kDaemonUser));
  Enrol(Invite("alice"));
  for (const auto& entry : std::filesystem::directory_iterator(store_ + "/.tandemd")) {
    EXPECT_EQ(Lstat(entry.path()).st_uid, kDaemonUser) << entry.path();
  }
  EXPECT_EQ(Lstat(store_ + "/.tandemd").st_uid, kDaemonUser);
}

}  // namespace
}  // namespace tandem::test
