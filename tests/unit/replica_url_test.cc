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
  EXPECT_THAT(text, HasSubstr("tcp://HOST[:PORT] or ipc:///PATH is expected"));
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
  for (const std::string host : {"a b", "a/b", "user@host", "*", "[1.2.3.4]", "[::1", "[::1]x"}) {
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
  ExpectRefused("tls://x", "not implemented yet");
  ExpectRefused("ssh://user@x", "not implemented yet");
}

TEST(ReplicaUrl, OfASocketHasAWholePathThatFits) {
  ExpectRefused("ipc://relative", "whole path");
  ExpectRefused("ipc://", "whole path");
  ExpectRefused("ipc:///", "whole path");
  ExpectRefused("ipc:///" + std::string(107, 'x'), "at most 107 bytes");
  EXPECT_EQ(InFull("ipc:///" + std::string(106, 'x')).size(), 113u);
}

TEST(ReplicaUrl, TellsWhetherItLeadsOutOfThisMachine) {
  for (const std::string url : {"tcp://127.0.0.1:1", "tcp://127.9.9.9:1", "tcp://localhost:1",
                                "tcp://[::1]:1", "ipc:///x"}) {
    EXPECT_TRUE(IsLoopback(url)) << url;
  }
  for (const std::string url : {"tcp://0.0.0.0:1", "tcp://*:1", "tcp://127.evil.example:1",
                                "tcp://localhost.evil.example:1", "tcp://[::]:1"}) {
    EXPECT_FALSE(IsLoopback(url)) << url;
  }
}

}  // namespace
}  // namespace tandem::tools
