#include "replica/store/write_session.h"

#include <gtest/gtest.h>

namespace tandem::replica {
namespace {

const Hello kHello{1, 1, "vol", VolumeId(1, 1), "host:/source", RunId(1, 1)};
const Hello kTwin{1, 1, "vol", VolumeId(1, 1), "host:/source", RunId(2, 2)};

TEST(WriteSession, RequestsOfASessionThatHasEndedAreNotBegun) {
  WriteSession session("vol");
  session.Open(kHello, nullptr);
  const SessionId first = session.id();
  const auto turn = session.BeginRequest(first, nullptr);
  ASSERT_TRUE(turn);
  session.Open(kHello, nullptr);
  EXPECT_FALSE(session.BeginRequest(first, nullptr));
  EXPECT_TRUE(session.BeginRequest(session.id(), nullptr));
  session.EndRequest(*turn);  // of the one before
}

TEST(WriteSession, ARenewedSessionIsStillHeldByItsSource) {
  WriteSession session("vol");
  session.Open(kHello, nullptr);
  const SessionId first = session.id();
  session.Renew();
  EXPECT_FALSE(session.BeginRequest(first, nullptr));
  EXPECT_FALSE(session.RefuseSecond(kHello));
  const auto refusal = session.RefuseSecond(kTwin);
  ASSERT_TRUE(refusal);
  EXPECT_EQ(refusal->code, ReplyCode::kRefused);
}

}  // namespace
}  // namespace tandem::replica
