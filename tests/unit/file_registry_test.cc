// Who may do what, by the account files of a store.
#include <sys/stat.h>

#include <filesystem>

#include "tests/unit/registry_fixture.h"

namespace tandem::replica {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;

class FileRegistries : public RegistryTest {
 protected:
  const std::string key_ = MakePrivateKey().value();
};

TEST_F(FileRegistries, AnEnrolledHostHasTheRightsOfItsInvitation) {
  const auto enrolled = Enrol(Invite("alice", 60, "db-*", true), key_, "Web_1.example.org");
  ASSERT_TRUE(enrolled) << enrolled.error().ToString();
  EXPECT_THAT(enrolled->name, MatchesRegex("alice/web_1-[0-9a-f]{8}"));
  EXPECT_EQ(NameOfCertificate(enrolled->certificate).value(), enrolled->name);
  EXPECT_TRUE(CheckSignedBy({enrolled->certificate, key_}, enrolled->authority));
  EXPECT_EQ(enrolled->authority, registry_.OwnCredentials()->authority);

  Change([](Accounts& all) { all.Find("alice")->quota.bytes = 1000; });
  const auto rights = registry_.RightsOf(HostWith(key_, enrolled->name));
  ASSERT_TRUE(rights) << rights.error().ToString();
  EXPECT_EQ(rights->account, "alice");
  EXPECT_EQ(rights->identity, enrolled->name);
  EXPECT_EQ(rights->volume_pattern, "db-*");
  EXPECT_FALSE(rights->may_write);
  EXPECT_FALSE(rights->may_only_enrol);
  EXPECT_FALSE(rights->may_set_special);
  EXPECT_EQ(rights->quota.bytes, 1000u);
}

TEST_F(FileRegistries, AKeyAndItsNameBelongTogether) {
  const std::string name = Enrol(Invite("alice"), key_)->name;
  const std::string other = MakePrivateKey().value();
  const std::string others_name = Enrol(Invite("bob"), other)->name;
  EXPECT_TRUE(registry_.RightsOf(HostWith(key_, name)));
  EXPECT_THAT(WhyNoRights(HostWith(key_, others_name)), HasSubstr("not, or no longer, known"));
  EXPECT_THAT(WhyNoRights(HostWith(key_, kDaemonName)), HasSubstr("not, or no longer, known"));
  EXPECT_THAT(WhyNoRights(HostWith(MakePrivateKey().value(), name)), HasSubstr("invitation"));
}

TEST_F(FileRegistries, StrangersMayOnlyEnrol) {
  const auto rights = registry_.RightsOf(Stranger());
  ASSERT_TRUE(rights);
  EXPECT_TRUE(rights->may_only_enrol);
  EXPECT_FALSE(rights->may_write);
}

TEST_F(FileRegistries, ARevocationCountsFromTheNextRequestOn) {
  const std::string name = Enrol(Invite("alice"), key_)->name;
  const PeerIdentity host = HostWith(key_, name);
  for (int round = 0; round < 5; ++round) {
    EXPECT_TRUE(registry_.RightsOf(host));
    Change([&](Accounts& all) { all.FindIdentity(name)->revoked = true; });
    EXPECT_THAT(WhyNoRights(host), AllOf(HasSubstr("revoked"), HasSubstr("ask for an invitation")));
    Change([&](Accounts& all) { all.FindIdentity(name)->revoked = false; });
  }
  Change([](Accounts& all) { all.identities.clear(); });
  EXPECT_THAT(WhyNoRights(host), HasSubstr("not, or no longer, known"));
}

TEST_F(FileRegistries, LastUseIsWrittenDown) {
  const std::string name = Enrol(Invite("alice"), key_)->name;
  now_ = now_ + 100;
  ASSERT_TRUE(registry_.RightsOf(HostWith(key_, name)));
  EXPECT_EQ(files_.Read()->FindIdentity(name)->last_used, now_ - 100) << "no request waits for it";
  registry_.WriteDown();
  EXPECT_EQ(files_.Read()->FindIdentity(name)->last_used, now_);
  now_ = now_ + 100;
  {
    FileRegistry another(store_, [this] { return now_.load(); });
    ASSERT_TRUE(another.RightsOf(HostWith(key_, name)));
  }
  EXPECT_EQ(files_.Read()->FindIdentity(name)->last_used, now_) << "written at the end";
}

TEST_F(FileRegistries, DamagedAccountsRefuseKeysAndLetLocalGoOn) {
  const std::string name = Enrol(Invite("alice"), key_)->name;
  const std::string secret = Invite("alice");
  const std::string good = test::Read(FileOf("accounts.json"));
  const std::vector<std::string> bad = {
      "",
      "garbage",
      good.substr(0, good.size() / 2),
      "{}",
      R"({"format": 1, "accounts": [], "identities": [], "invitations": 7})",
      R"({"format": 99, "accounts": [], "identities": [], "invitations": []})"};
  for (const std::string& text : bad) {
    test::Write(FileOf("accounts.json"), text);
    EXPECT_THAT(WhyNoRights(HostWith(key_, name)), HasSubstr("cannot read its accounts")) << text;
    EXPECT_FALSE(Enrol(secret, MakePrivateKey().value()));
    const PeerIdentity user{Kind::kUser, 65534, "", "", "process 1"};
    EXPECT_THAT(WhyNoRights(user), HasSubstr("cannot read its accounts"))
        << "whose quota is unknown";
    EXPECT_TRUE(registry_.RightsOf({Kind::kUser, 0, "", "", "process 1"}));
    EXPECT_TRUE(registry_.RightsOf({Kind::kPlaintext, 0, "", "", "127.0.0.1"}));
    EXPECT_FALSE(files_.Change([](Accounts&) { return true; })) << "what is there is not replaced";
    EXPECT_EQ(test::Read(FileOf("accounts.json")), text);
  }
  test::Write(FileOf("accounts.json"), good);
  EXPECT_TRUE(registry_.RightsOf(HostWith(key_, name)));
}

TEST_F(FileRegistries, AccountFilesOfANewerVersionSayWhatToUpgrade) {
  Invite("alice");
  for (const std::string file : {"accounts.json", "authority.json"}) {
    std::string text = test::Read(FileOf(file));
    const size_t at = text.find("\"format\": 1");
    ASSERT_NE(at, std::string::npos);
    test::Write(FileOf(file), text.replace(at, 11, "\"format\": 2"));
  }
  EXPECT_THAT(files_.Read().error().ToString(), HasSubstr("upgrade tandemd"));
  EXPECT_THAT(files_.EnsureKeys().error().ToString(), HasSubstr("upgrade tandemd"));
}

TEST_F(FileRegistries, FilesThatOthersCanReadAreRefused) {
  const std::string name = Enrol(Invite("alice"), key_)->name;
  for (const std::string file : {"authority.json", "daemon.json"}) {
    ASSERT_EQ(0, chmod(FileOf(file).c_str(), 0644));
    const auto keys = registry_.OwnCredentials();
    ASSERT_FALSE(keys);
    EXPECT_THAT(keys.error().ToString(),
                AllOf(HasSubstr(FileOf(file)), HasSubstr("0644"), HasSubstr("chmod 600")));
    ASSERT_EQ(0, chmod(FileOf(file).c_str(), 0600));
    EXPECT_TRUE(registry_.OwnCredentials());
  }
  ASSERT_EQ(0, chmod(FileOf("accounts.json").c_str(), 0622));
  EXPECT_THAT(WhyNoRights(HostWith(key_, name)), HasSubstr("cannot read its accounts"));
  ASSERT_EQ(0, chmod(FileOf("accounts.json").c_str(), 0600));
  EXPECT_TRUE(registry_.RightsOf(HostWith(key_, name)));
  ASSERT_EQ(0, chmod(FileOf("").c_str(), 0777));
  EXPECT_THAT(files_.Change([](Accounts&) { return true; }).error().ToString(),
              AllOf(HasSubstr(".tandemd"), HasSubstr("chmod 700")));
}

TEST_F(FileRegistries, NoFileIsOpenToOthersWhateverTheUmask) {
  const mode_t before = umask(0);
  Enrol(Invite("alice"), key_);
  umask(before);
  for (const auto& entry : std::filesystem::directory_iterator(FileOf(""))) {
    struct stat found;
    ASSERT_EQ(0, stat(entry.path().c_str(), &found));
    EXPECT_EQ(found.st_mode & 07777, 0600u) << entry.path();
  }
  struct stat found;
  ASSERT_EQ(0, stat(FileOf("").c_str(), &found));
  EXPECT_EQ(found.st_mode & 07777, 0700u);
}

TEST_F(FileRegistries, WhatAKilledProcessLeavesBehindDoesNoHarm) {
  const std::string secret = Invite("alice");
  for (const std::string file : {"accounts.json", "authority.json", "daemon.json"}) {
    test::Write(FileOf(file) + ".new", "half a fi");
  }
  const auto enrolled = Enrol(secret, key_);
  ASSERT_TRUE(enrolled) << enrolled.error().ToString();
  EXPECT_FALSE(std::filesystem::exists(FileOf("accounts.json.new")));
  std::filesystem::remove(FileOf("daemon.json"));  // killed between the two keys
  const auto own = registry_.OwnCredentials();
  ASSERT_TRUE(own) << own.error().ToString();
  EXPECT_EQ(own->authority, enrolled->authority) << "hosts know this one";
}

TEST_F(FileRegistries, AnAuthorityThatHostsKnowIsNotReplaced) {
  Enrol(Invite("alice"), key_);
  std::filesystem::remove(FileOf("authority.json"));
  const auto keys = registry_.OwnCredentials();
  ASSERT_FALSE(keys);
  EXPECT_THAT(keys.error().ToString(),
              AllOf(HasSubstr("authority.json"), HasSubstr("restore it from a backup")));
}

TEST_F(FileRegistries, SecretsAreNotInTheFiles) {
  const std::string secret = Invite("alice");
  const std::string text = test::Read(FileOf("accounts.json"));
  EXPECT_THAT(text, Not(HasSubstr(ToHex(secret))));
  EXPECT_THAT(text, HasSubstr(Sha256Hex(secret)));
}

TEST(AccountNames, AreShortAndPlain) {
  for (const std::string& name :
       std::vector<std::string>{"a", "alice", "0", "web-1.example_2", std::string(32, 'x')}) {
    EXPECT_TRUE(IsAccountName(name)) << name;
  }
  for (const std::string& name :
       {std::string(""), std::string("local"), std::string(".a"), std::string("-a"),
        std::string("A"), std::string("a/b"), std::string("a b"), std::string(33, 'x'),
        std::string("\xc3\xa4"), std::string("a\0", 2), std::string("..")}) {
    EXPECT_FALSE(IsAccountName(name)) << name;
  }
}

}  // namespace
}  // namespace tandem::replica
