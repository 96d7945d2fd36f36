#include "fs/objects/nosec_flag.h"

#include <gtest/gtest.h>

#include <optional>

namespace tandem::fs {
namespace {

TEST(NosecFlag, WhatWasSeenIsRememberedUntilSomethingIsGiven) {
  NosecFlag flag;
  EXPECT_FALSE(flag.IsSet());
  EXPECT_TRUE(flag.SetIfUnchanged(flag.TakeSnapshot()));
  EXPECT_TRUE(flag.IsSet());
  { const NosecFlag::ScopedClear clear(flag); }
  EXPECT_FALSE(flag.IsSet());
  EXPECT_TRUE(flag.SetIfUnchanged(flag.TakeSnapshot()));
  EXPECT_TRUE(flag.IsSet());
}

TEST(NosecFlag, WhatWasSeenBeforeSomethingWasGivenIsNotRemembered) {
  NosecFlag flag;
  const NosecFlag::Snapshot before = flag.TakeSnapshot();
  { const NosecFlag::ScopedClear clear(flag); }
  EXPECT_FALSE(flag.SetIfUnchanged(before));
  EXPECT_FALSE(flag.IsSet());
}

TEST(NosecFlag, WhatWasSeenWhileSomethingIsGivenIsNotRemembered) {
  NosecFlag flag;
  std::optional<NosecFlag::ScopedClear> one(flag);
  std::optional<NosecFlag::ScopedClear> other(flag);
  EXPECT_FALSE(flag.IsSet());
  const NosecFlag::Snapshot during = flag.TakeSnapshot();
  EXPECT_FALSE(flag.SetIfUnchanged(during));
  one.reset();
  EXPECT_FALSE(flag.SetIfUnchanged(flag.TakeSnapshot()));
  other.reset();
  EXPECT_FALSE(flag.SetIfUnchanged(during));
  EXPECT_FALSE(flag.IsSet());
  EXPECT_TRUE(flag.SetIfUnchanged(flag.TakeSnapshot()));
}

TEST(NosecFlag, TwoWhoSawTheSameMayBothRememberIt) {
  NosecFlag flag;
  const NosecFlag::Snapshot seen = flag.TakeSnapshot();
  EXPECT_TRUE(flag.SetIfUnchanged(seen));
  EXPECT_TRUE(flag.SetIfUnchanged(seen));
  EXPECT_TRUE(flag.IsSet());
}

}  // namespace
}  // namespace tandem::fs
