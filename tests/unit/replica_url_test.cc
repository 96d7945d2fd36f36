// URLs as the command lines of the daemons take them.
#include "tools/replica_url.h"

#include <gmock/gmock.h>

namespace tandem::tools {
namespace {

using ::testing::HasSubstr;

std::string InFull(const std::string& url, UrlUse use = UrlUse::kReplica) {
  const auto checked = CheckUrl(url, use);
  EXPECT_TRUE(checked) << checked.error().ToString();
  return checked.value_or("");
}

void ExpectRefused(const std::string& url, const std::string& why, UrlUse use = UrlUse::kReplica) {
  const auto checked = CheckUrl(url, use);
  ASSERT_FALSE(checked) << url << " became " << *checked;
  EXPECT_EQ(checked.error().kind(), ErrorKind::kUsage);
  const std::string text = checked.error().ToString();
  EXPECT_THAT(text, HasSubstr("\"" + url + "\"")) << "the URL is named";
  EXPECT_THAT(text, HasSubstr(why));
  const bool is_ssh = url.starts_with("ssh://") && use == UrlUse::kReplica;
  EXPECT_THAT(text, HasSubstr(is_ssh ? "ssh://[USER@]HOST[:PORT][/SOCKET] is expected"
                                     : "ipc:///PATH or tcp://HOST[:PORT] is expected"));
}

TEST(ReplicaUrl, WithoutAPortMeans7447OnBothSides) {
  EXPECT_EQ(InFull("tcp://backup"), "tcp://backup:7447");
  EXPECT_EQ(InFull("tcp://10.0.0.1"), "tcp://10.0.0.1:7447");
  EXPECT_EQ(InFull("tcp://[2001:db8::1]"), "tcp://[2001:db8::1]:7447");
  EXPECT_EQ(InFull("tcp://127.0.0.1", UrlUse::kListen), "tcp://127.0.0.1:7447");
  EXPECT_EQ(InFull("tcp://*", UrlUse::kListen), "tcp://*:7447");
}

TEST(ReplicaUrl, OfAReplicaOnThisMachineNeedsAPort) {
  for (const std::string host : {"127.0.0.1", "127.1.2.3", "localhost", "[::1]"}) {
    ExpectRefused("tcp://" + host, "tcp://" + host + ":7447");
    EXPECT_EQ(InFull("tcp://" + host + ":1"), "tcp://" + host + ":1");
  }
}

TEST(ReplicaUrl, OneAddressHasOneSpelling) {
  EXPECT_EQ(InFull("tcp://Backup.Example:07447"), InFull("tcp://backup.example"));
  EXPECT_EQ(InFull("ipc:///run/./tandemd//x/../sock"), "ipc:///run/tandemd/sock");
}

TEST(ReplicaUrl, OfASocketThatIsADirectoryIsRefused) {
  for (const std::string path : {"/run/", "/run/.", "/run/tandemd/..", "/."}) {
    ExpectRefused("ipc://" + path, "it needs the whole path of a socket");
  }
}

TEST(ReplicaUrl, WithAControlCharacterIsRefused) {
  using namespace std::string_literals;
  for (const std::string& url : {"ipc:///run/s\0ocket"s, "ipc:///run/s\nocket"s,
                                 "tcp://[::\0beyond]:1"s, "tcp://host\x1b[31m"s}) {
    ExpectRefused(url, "it has a control character");
    ExpectRefused(url, "it has a control character", UrlUse::kListen);
  }
}

TEST(ReplicaUrl, WithAPortThatCannotBeIsRefused) {
  for (const std::string port :
       {"99999", "65536", "abc", "-1", "1x", "", "99999999999999", "1/x"}) {
    ExpectRefused("tcp://host:" + port, "is not a valid port");
    ExpectRefused("tcp://host:" + port, "is not a valid port", UrlUse::kListen);
  }
  ExpectRefused("tcp://host:0", "from 1 to 65535");
  EXPECT_EQ(InFull("tcp://host:0", UrlUse::kListen), "tcp://host:0");
}

TEST(ReplicaUrl, WithoutAHostIsRefused) {
  for (const std::string url : {"tcp://", "tcp://:7447"}) {
    ExpectRefused(url, "it has no host");
    ExpectRefused(url, "it has no host", UrlUse::kListen);
  }
  for (const std::string host : {"a b", "a/b", "*", "[1.2.3.4]", "[::1", "[::1]x"}) {
    ExpectRefused("tcp://" + host, "is not a");
  }
  ExpectRefused("tcp://2001:db8::1", "in brackets");
}

TEST(ReplicaUrl, OfAnotherSchemeIsRefused) {
  ExpectRefused("foo", "no scheme");
  ExpectRefused("127.0.0.1:7447", "no scheme");
  ExpectRefused("", "no scheme");
  ExpectRefused("htp://x", "the scheme \"htp\" is unknown");
  ExpectRefused("://x", "the scheme \"\" is unknown");
  ExpectRefused("inproc://x", "the scheme \"inproc\" is unknown");
}

TEST(ReplicaUrl, OfASocketHasAWholePathThatFits) {
  ExpectRefused("ipc://relative", "whole path");
  ExpectRefused("ipc://", "whole path");
  ExpectRefused("ipc:///", "whole path");
  ExpectRefused("ipc:///" + std::string(107, 'x'), "at most 107 bytes");
  EXPECT_EQ(InFull("ipc:///" + std::string(106, 'x')).size(), 113u);
}

TEST(ReplicaUrl, ThroughSshLeavesToSshWhatItDoesNotSay) {
  for (const std::string url :
       {"ssh://Backup", "ssh://user@host", "ssh://host:2222",
        "ssh://user@[2001:db8::1]:22/a/b.sock", "ssh://user@corp.example@host",
        "ssh://10.0.0.1/run/tandemd/tandemd.sock"}) {
    EXPECT_EQ(InFull(url), url);
  }
  EXPECT_EQ(InFull("ssh://host:022"), "ssh://host:22");
  EXPECT_EQ(InFull("ssh://host/"), "ssh://host");
  EXPECT_EQ(InFull("ssh://host//run/./x/../sock"), "ssh://host/run/sock");
}

TEST(ReplicaUrl, ThroughSshCannotBeAnOptionOrAShellCommand) {
  for (const std::string host : {"-oProxyCommand=x", "a b", "a;b", "$(x)", "`x`", "a%h", "a'b",
                                 "a\nb", "h\xc3\xb6st", "a,b", "*"}) {
    ExpectRefused("ssh://" + host, "is not a host name or address");
    ExpectRefused("ssh://user@" + host, "is not a host name or address");
  }
  for (const std::string user : {"-l", "a b", "a;b", "$(x)", "a%u", "a'b", "a\nb"}) {
    ExpectRefused("ssh://" + user + "@host", "is not a user's name");
  }
  for (const std::string path : {"/a b", "/a;b", "/$(x)", "/a'b", "/a\nb", "/a%h", "/~/x"}) {
    ExpectRefused("ssh://host" + path, "letters, digits and");
  }
  ExpectRefused("ssh://host" + std::string("/a\0b", 4), "letters, digits and");
  ExpectRefused("ssh://[::1" + std::string("\0x]", 3), "is not an IPv6 address in brackets");
}

TEST(ReplicaUrl, ThroughSshThatCannotBeIsRefused) {
  ExpectRefused("ssh://", "it has no host");
  ExpectRefused("ssh://:22", "it has no host");
  ExpectRefused("ssh:///run/x", "it has no host");
  ExpectRefused("ssh://@host", "empty user");
  ExpectRefused("ssh://user:secret@host", "a password does not belong in a URL");
  ExpectRefused("ssh://2001:db8::1", "in brackets");
  for (const std::string host : {"[1.2.3.4]", "[::1", "[::1]x", "[]"}) {
    ExpectRefused("ssh://" + host, "is not an IPv6 address in brackets");
  }
  for (const std::string port : {"0", "65536", "abc", "-1", "1x", "", "99999999999999"}) {
    ExpectRefused("ssh://host:" + port, "is not a valid port");
    ExpectRefused("ssh://[::1]:" + port, "is not a valid port");
  }
  ExpectRefused("ssh://host/run/", "whole path");
  ExpectRefused("ssh://host/run/..", "whole path");
  ExpectRefused("ssh://host/" + std::string(107, 'x'), "at most 107 bytes");
  ExpectRefused("ssh://host", "ssh:// leads to a replica", UrlUse::kListen);
}

TEST(ReplicaUrl, OfTlsIsCompletedLikeThatOfTcp) {
  EXPECT_EQ(InFull("tls://Backup"), "tls://backup:7447");
  EXPECT_EQ(InFull("tls://*", UrlUse::kListen), "tls://*:7447");
  EXPECT_EQ(InFull("tls://Al-ice@Backup"), "tls://Al-ice@backup:7447");
  ExpectRefused("tls://@host", "is no account");
  ExpectRefused("tls://a/b@host", "is no account");
  ExpectRefused("tls://a@b@host", "is not a host name");
  ExpectRefused("tcp://a@host", "only the URL of a replica over tls://");
  ExpectRefused("tls://a@*", "only the URL of a replica over tls://", UrlUse::kListen);
  ExpectRefused("tls://host:99999", "is not a valid port");
  ExpectRefused("tls://", "it has no host");
}

}  // namespace
}  // namespace tandem::tools
