#include <gtest/gtest.h>

#include "tools/web/actions.h"

namespace tandem::tools {
namespace {

Json RequestOfAction(const Json& action) {
  const auto request = ControlRequestOf(action);
  return request ? *request : Json("refused");
}

bool ActionIsRefused(const Json& action) {
  const auto request = ControlRequestOf(action);
  return !request && request.error().kind() == ErrorKind::kUsage;
}

TEST(WebActions, BecomeRequestsToTheControlSocket) {
  EXPECT_EQ(RequestOfAction({{"op", "pause"}}), Json({{"op", "pause"}}));
  EXPECT_EQ(RequestOfAction({{"op", "pause"}, {"replica", "b"}, {"for_ms", 5}}),
            Json({{"op", "pause"}, {"replica", "b"}, {"for_ms", 5}}));
  EXPECT_EQ(RequestOfAction({{"op", "interval"}, {"interval_ms", 0}}),
            Json({{"op", "set"}, {"interval_ms", 0}}));
  EXPECT_EQ(RequestOfAction({{"op", "bandwidth"}, {"replica", "b"}, {"bwlimit", "2M"}}),
            Json({{"op", "set"}, {"replica", "b"}, {"bwlimit", "2M"}}));
  EXPECT_EQ(RequestOfAction({{"op", "verify"}, {"full", true}, {"repair", false}}),
            Json({{"op", "verify"}, {"full", true}, {"repair", false}}));
  EXPECT_EQ(RequestOfAction({{"op", "replica-rename"}, {"name", "a"}, {"to", "b"}}),
            Json({{"op", "replica-rename"}, {"name", "a"}, {"to", "b"}}));
}

TEST(WebActions, PassOnlyOnWhatBelongsToThem) {
  EXPECT_EQ(RequestOfAction({{"op", "resume"}, {"mount", "0"}, {"for_ms", 5}, {"other", 1}}),
            Json({{"op", "resume"}}));
}

TEST(WebActions, OtherOperationsOfTheSocketAreNotReached) {
  for (const char* op : {"", "end", "held", "newest", "set", "status", "verify-poll", "no such"}) {
    EXPECT_TRUE(ActionIsRefused({{"op", op}})) << op;
  }
  EXPECT_TRUE(ActionIsRefused(Json::object()));
  EXPECT_TRUE(ActionIsRefused({{"op", 5}}));
}

TEST(WebActions, ValuesOfAWrongTypeOrSizeAreRefused) {
  EXPECT_TRUE(ActionIsRefused({{"op", "pause"}, {"replica", 5}}));
  EXPECT_TRUE(ActionIsRefused({{"op", "pause"}, {"replica", ""}}));
  EXPECT_TRUE(ActionIsRefused({{"op", "pause"}, {"replica", nullptr}}));
  EXPECT_TRUE(ActionIsRefused({{"op", "pause"}, {"replica", "a\nb"}}));
  EXPECT_TRUE(ActionIsRefused({{"op", "pause"}, {"replica", std::string(3000, 'a')}}));
  EXPECT_TRUE(ActionIsRefused({{"op", "pause"}, {"for_ms", -1}}));
  EXPECT_TRUE(ActionIsRefused({{"op", "pause"}, {"for_ms", 1.5}}));
  EXPECT_TRUE(ActionIsRefused({{"op", "pause"}, {"for_ms", UINT64_MAX}}));
  EXPECT_TRUE(ActionIsRefused({{"op", "interval"}}));
  EXPECT_TRUE(ActionIsRefused({{"op", "interval"}, {"interval_ms", "5"}}));
  EXPECT_TRUE(ActionIsRefused({{"op", "bandwidth"}, {"bwlimit", "2M"}}));
  EXPECT_TRUE(ActionIsRefused({{"op", "verify"}, {"full", 1}}));
  EXPECT_TRUE(ActionIsRefused({{"op", "replica-remove"}}));
}

class WebActionsOfNoMount : public testing::Test {
 protected:
  bool enrolled_ = false;
  Hub hub_{[]() -> Result<std::vector<SurveyedMount>> {
    return std::vector<SurveyedMount>{{"/m", "/s", "/nowhere/0123.sock", true}};
  }};
  Actions actions_{hub_, [this](const std::string&) -> Result<std::string> {
                     enrolled_ = true;
                     return MakeError(ErrorKind::kRefused, "the token is used up");
                   }};
};

TEST_F(WebActionsOfNoMount, AMountIsNamedByItsIdOnly) {
  for (const char* id : {"", "/nowhere/0123.sock", "0123.sock", "../0123", "4567"}) {
    const auto done = actions_.Perform({{"op", "pause"}, {"mount", id}});
    ASSERT_FALSE(done) << id;
    EXPECT_EQ(done.error().kind(), ErrorKind::kUsage) << id;
  }
  const auto done = actions_.Perform({{"op", "pause"}, {"mount", "0123"}});
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().kind(), ErrorKind::kUnreachable);  // nobody serves it
}

TEST_F(WebActionsOfNoMount, ATokenIsEnrolledBeforeTheReplicaIsAdded) {
  const Json action = {{"op", "replica-add"}, {"mount", "0123"}, {"token", "text"}};
  const auto done = actions_.Perform(action);
  ASSERT_FALSE(done);
  EXPECT_TRUE(enrolled_);
  EXPECT_EQ(done.error().context(), "the token is used up");
}

TEST_F(WebActionsOfNoMount, ATokenThatIsTooLongIsNotEvenTried) {
  const Json action = {
      {"op", "replica-add"}, {"mount", "0123"}, {"token", std::string(10000, 'a')}};
  EXPECT_FALSE(actions_.Perform(action));
  EXPECT_FALSE(enrolled_);
}

TEST(WebEnrolment, WhatIsNoTokenIsRefusedWithoutRepeatingIt) {
  const auto url = EnrolOverNetwork("secret-text");
  ASSERT_FALSE(url);
  EXPECT_EQ(url.error().kind(), ErrorKind::kUsage);
  EXPECT_EQ(url.error().ToString().find("secret-text"), std::string::npos);
}

}  // namespace
}  // namespace tandem::tools
