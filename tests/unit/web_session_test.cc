#include "tools/web/web_session.h"

#include <gtest/gtest.h>

namespace tandem::tools {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

class WebSession : public testing::Test {
 protected:
  WebSessions::Secrets LogIn() { return sessions_.LogIn(*sessions_.NewKey(now_), now_).value(); }

  WebSessions sessions_;
  WebSessions::Clock::time_point now_{};
};

TEST_F(WebSession, AKeyIsLongAndNeverTheSame) {
  EXPECT_EQ(sessions_.NewKey(now_)->size(), 64U);
  EXPECT_NE(*sessions_.NewKey(now_), *sessions_.NewKey(now_));
}

TEST_F(WebSession, AKeyWorksOnce) {
  const std::string key = *sessions_.NewKey(now_);
  EXPECT_FALSE(sessions_.LogIn("", now_));
  EXPECT_FALSE(sessions_.LogIn(std::string(64, '0'), now_));
  EXPECT_TRUE(sessions_.LogIn(key, now_));
  EXPECT_FALSE(sessions_.LogIn(key, now_));
  EXPECT_FALSE(sessions_.LogIn("", now_));
}

TEST_F(WebSession, AKeyIsGoodForAQuarterOfAnHour) {
  const std::string key = *sessions_.NewKey(now_);
  EXPECT_FALSE(sessions_.LogIn(key, now_ + minutes(15)));
  EXPECT_TRUE(sessions_.LogIn(key, now_ + minutes(15) - seconds(1)));
}

TEST_F(WebSession, ANewKeyReplacesTheOneBefore) {
  const std::string key = *sessions_.NewKey(now_);
  const std::string next = *sessions_.NewKey(now_);
  EXPECT_FALSE(sessions_.LogIn(key, now_));
  EXPECT_TRUE(sessions_.LogIn(next, now_));
}

TEST_F(WebSession, BothSecretsMustBeOfOneSession) {
  const auto one = LogIn();
  const auto other = LogIn();
  EXPECT_TRUE(sessions_.IsValid(one.cookie, one.token, now_));
  EXPECT_FALSE(sessions_.IsValid(one.cookie, other.token, now_));
  EXPECT_FALSE(sessions_.IsValid(one.token, one.cookie, now_));
  EXPECT_FALSE(sessions_.IsValid("", "", now_));
  EXPECT_FALSE(sessions_.IsValid(one.cookie, "", now_));
}

TEST_F(WebSession, EndsWhenItIsNotUsedForTwelveHours) {
  const auto secrets = LogIn();
  const auto later = now_ + WebSessions::kIdleLifetime - seconds(1);
  EXPECT_TRUE(sessions_.IsValid(secrets.cookie, secrets.token, later));
  EXPECT_TRUE(sessions_.IsValid(secrets.cookie, secrets.token, later + minutes(60)));
  EXPECT_FALSE(sessions_.IsValid(secrets.cookie, secrets.token,
                                 later + minutes(60) + WebSessions::kIdleLifetime));
}

TEST_F(WebSession, EndsAtLogOut) {
  const auto secrets = LogIn();
  sessions_.LogOut(secrets.cookie, "another");
  EXPECT_TRUE(sessions_.IsValid(secrets.cookie, secrets.token, now_));
  sessions_.LogOut(secrets.cookie, secrets.token);
  EXPECT_FALSE(sessions_.IsValid(secrets.cookie, secrets.token, now_));
}

TEST_F(WebSession, TheOneThatWasUsedLeastRecentlyGivesWay) {
  const auto first = LogIn();
  now_ += seconds(1);
  const auto second = LogIn();
  now_ += seconds(1);
  EXPECT_TRUE(sessions_.IsValid(first.cookie, first.token, now_));
  for (size_t i = 0; i + 1 < WebSessions::kMostSessions; ++i) LogIn();
  EXPECT_TRUE(sessions_.IsValid(first.cookie, first.token, now_));
  EXPECT_FALSE(sessions_.IsValid(second.cookie, second.token, now_));
}

}  // namespace
}  // namespace tandem::tools
