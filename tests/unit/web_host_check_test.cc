#include <gtest/gtest.h>

#include "tools/web/host_check.h"

namespace tandem::tools {
namespace {

std::string ParsedAddress(const std::string& text) {
  const auto address = ParseListenAddress(text);
  return address ? ToUrlHost(*address) : "refused";
}

TEST(WebHostCheck, OnlyLoopbackAddressesCanBeListenedOn) {
  EXPECT_EQ(ParsedAddress("127.0.0.1:8080"), "127.0.0.1:8080");
  EXPECT_EQ(ParsedAddress("127.0.0.1"), "127.0.0.1:7449");
  EXPECT_EQ(ParsedAddress("127.9.9.9:0"), "127.9.9.9:0");
  EXPECT_EQ(ParsedAddress("LocalHost:1"), "127.0.0.1:1");
  EXPECT_EQ(ParsedAddress("[::1]:1"), "[::1]:1");
  EXPECT_EQ(ParsedAddress("[::1]"), "[::1]:7449");
  for (const char* text : {"", ":", "0.0.0.0:1", "192.168.1.1:1", "[::]:1", "::1:1x", "127.0.0.1:",
                           "127.0.0.1:x", "127.0.0.1:70000", "127.0.0.1:1 ", "example.org:1"}) {
    EXPECT_EQ(ParsedAddress(text), "refused") << text;
  }
}

TEST(WebHostCheck, OnlyTheServersOwnNamesAreAllowed) {
  const HostCheck check({"127.0.0.1", 7449});
  EXPECT_TRUE(check.AllowsHost("127.0.0.1:7449"));
  EXPECT_TRUE(check.AllowsHost("LOCALHOST:7449"));
  EXPECT_TRUE(check.AllowsHost("[::1]:7449"));
  for (const char* host : {"", "127.0.0.1", "127.0.0.1:80", "127.0.0.1:74490", "evil.example:7449",
                           "127.0.0.1.evil.example:7449", "localhost:7449 ", "localhost.:7449"}) {
    EXPECT_FALSE(check.AllowsHost(host)) << host;
  }
}

TEST(WebHostCheck, AnotherLoopbackAddressIsAllowedIfItIsListenedOn) {
  EXPECT_TRUE(HostCheck({"127.0.0.2", 1}).AllowsHost("127.0.0.2:1"));
  EXPECT_FALSE(HostCheck({"127.0.0.1", 1}).AllowsHost("127.0.0.2:1"));
}

TEST(WebHostCheck, BrowsersLeavePort80Out) {
  EXPECT_TRUE(HostCheck({"127.0.0.1", 80}).AllowsHost("localhost"));
  EXPECT_FALSE(HostCheck({"127.0.0.1", 81}).AllowsHost("localhost"));
}

TEST(WebHostCheck, AnOriginMustBeThatOfTheHostThatIsAsked) {
  const HostCheck check({"127.0.0.1", 7449});
  EXPECT_TRUE(check.AllowsOrigin("http://localhost:7449", "localhost:7449"));
  for (const char* origin : {"null", "", "http://127.0.0.1:7449", "https://localhost:7449",
                             "http://localhost:7450", "http://localhost:7449.evil.example"}) {
    EXPECT_FALSE(check.AllowsOrigin(origin, "localhost:7449")) << origin;
  }
  EXPECT_FALSE(check.AllowsOrigin("http://evil.example", "evil.example"));
}

}  // namespace
}  // namespace tandem::tools
