#include "fs/objects/plain_flag.h"

#include <gtest/gtest.h>

#include <optional>

namespace tandem::fs {
namespace {

TEST(PlainFlag, WhatWasSeenIsRememberedUntilSomethingIsGiven) {
  PlainFlag flag;
  EXPECT_FALSE(flag.Known());
  EXPECT_TRUE(flag.Remember(flag.Look()));
  EXPECT_TRUE(flag.Known());
  { const PlainFlag::Giving giving(flag); }
  EXPECT_FALSE(flag.Known());
  EXPECT_TRUE(flag.Remember(flag.Look()));
  EXPECT_TRUE(flag.Known());
}

TEST(PlainFlag, WhatWasSeenBeforeSomethingWasGivenIsNotRemembered) {
  PlainFlag flag;
  const PlainFlag::Moment before = flag.Look();
  { const PlainFlag::Giving giving(flag); }
  EXPECT_FALSE(flag.Remember(before));
  EXPECT_FALSE(flag.Known());
}

TEST(PlainFlag, WhatWasSeenWhileSomethingIsGivenIsNotRemembered) {
  PlainFlag flag;
  std::optional<PlainFlag::Giving> one(flag);
  std::optional<PlainFlag::Giving> other(flag);
  EXPECT_FALSE(flag.Known());
  const PlainFlag::Moment during = flag.Look();
  EXPECT_FALSE(flag.Remember(during));
  one.reset();
  EXPECT_FALSE(flag.Remember(flag.Look()));
  other.reset();
  EXPECT_FALSE(flag.Remember(during));
  EXPECT_FALSE(flag.Known());
  EXPECT_TRUE(flag.Remember(flag.Look()));
}

TEST(PlainFlag, TwoWhoSawTheSameMayBothRememberIt) {
  PlainFlag flag;
  const PlainFlag::Moment seen = flag.Look();
  EXPECT_TRUE(flag.Remember(seen));
  EXPECT_TRUE(flag.Remember(seen));
  EXPECT_TRUE(flag.Known());
}

}  // namespace
}  // namespace tandem::fs
