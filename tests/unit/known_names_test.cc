#include "fs/objects/known_names.h"

#include <gtest/gtest.h>

#include "fs/objects/tuning.h"

namespace tandem::fs {
namespace {

constexpr KnownNames::Time kThen = 65'530;  // soon comes round
constexpr KnownNames::Time kSoon = static_cast<KnownNames::Time>(kThen + kKnownNamesSeconds);
constexpr KnownNames::Time kLater = static_cast<KnownNames::Time>(kSoon + 1);

TEST(KnownNames, AreTakenAsOftenAsTheyWereAdded) {
  KnownNames names;
  EXPECT_FALSE(names.Consume(kThen));
  for (int i = 0; i < 3; ++i) names.Add(kThen);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(names.Consume(kSoon)) << i;
  EXPECT_FALSE(names.Consume(kSoon));
}

TEST(KnownNames, CountForNothingAfterAWhile) {
  KnownNames names;
  for (int i = 0; i < 3; ++i) names.Add(kThen);
  EXPECT_FALSE(names.Consume(kLater));
  names.Add(kLater);
  EXPECT_TRUE(names.Consume(kLater));
  EXPECT_FALSE(names.Consume(kLater));
}

TEST(KnownNames, GoOverToAListing) {
  KnownNames names;
  KnownNames listing;
  listing.Add(kThen);
  for (int i = 0; i < 2; ++i) names.Add(kThen);
  listing.MoveFrom(names, kSoon);
  EXPECT_FALSE(names.Consume(kSoon));
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(listing.Consume(kLater)) << i;
  EXPECT_FALSE(listing.Consume(kLater));
}

TEST(KnownNames, MoreThanCanBeCountedAreStillMany) {
  KnownNames names;
  for (int i = 0; i < 100'000; ++i) names.Add(kThen);
  for (int i = 0; i < 65'535; ++i) ASSERT_TRUE(names.Consume(kThen)) << i;
  EXPECT_FALSE(names.Consume(kThen));
}

}  // namespace
}  // namespace tandem::fs
