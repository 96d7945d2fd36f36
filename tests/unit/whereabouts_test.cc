// What is remembered of where objects are, and what is forgotten.
#include "meta/source/whereabouts.h"

#include <gtest/gtest.h>

#include <string>

namespace tandem::meta {
namespace {

constexpr ObjectId kDirectory{1, 16}, kFile{1, 32};
using OtherNames = Whereabouts::OtherNames;

TEST(Whereabouts, TheLatestNameComesFirst) {
  Whereabouts whereabouts;
  EXPECT_EQ(whereabouts.Find(kFile).version, 0u);
  whereabouts.Note(kFile, kRootObject, "a");
  whereabouts.Note(kFile, kDirectory, "b");
  EXPECT_EQ(whereabouts.NameOf(kFile), (EntryKey{kDirectory, "b"}));
  EXPECT_EQ(whereabouts.Find(kFile).names.size(), 2u);
}

TEST(Whereabouts, WhatLosesItsLastNameIsNameless) {
  Whereabouts whereabouts;
  whereabouts.Note(kFile, kRootObject, "a");
  whereabouts.Note(kFile, kRootObject, "b");
  whereabouts.NoteNameRemoved(kFile, kRootObject, "a", OtherNames::kMaybe);
  EXPECT_FALSE(whereabouts.Find(kFile).nameless);
  whereabouts.NoteNameRemoved(kFile, kRootObject, "b", OtherNames::kMaybe);
  EXPECT_FALSE(whereabouts.Find(kFile).nameless) << "it may have a third";
  whereabouts.NoteNameRemoved(kFile, kRootObject, "c", OtherNames::kNone);
  EXPECT_TRUE(whereabouts.Find(kFile).nameless);
  whereabouts.NoteNameAdded(kFile, kRootObject, "d");
  EXPECT_FALSE(whereabouts.Find(kFile).nameless);
}

TEST(Whereabouts, WhatASearchDidNotFindIsNotGoneIfAnOperationHasNamedItMeanwhile) {
  Whereabouts whereabouts;
  whereabouts.Note(kFile, kRootObject, "a");
  const uint64_t version = whereabouts.Find(kFile).version;
  whereabouts.NoteNameAdded(kFile, kRootObject, "b");
  whereabouts.NoteNamelessUnlessChanged(kFile, version);
  EXPECT_FALSE(whereabouts.Find(kFile).nameless);
  whereabouts.NoteNamelessUnlessChanged(kFile, whereabouts.Find(kFile).version);
  EXPECT_TRUE(whereabouts.Find(kFile).nameless);
}

TEST(Whereabouts, IsBoundedAndForgetsWhatIsNotAskedFor) {
  constexpr size_t kMost = 1600;
  Whereabouts whereabouts(kMost);
  whereabouts.Note(kFile, kRootObject, "kept");
  for (uint64_t i = 0; i < 10 * kMost; ++i) {
    whereabouts.Note(ObjectId(2, i), kRootObject, std::to_string(i));
    EXPECT_TRUE(whereabouts.NameOf(kFile)) << i;
  }
  EXPECT_GE(whereabouts.forgotten(), 9 * kMost);
  whereabouts.NoteIfRoom(ObjectId(3, 0), kRootObject, "more");
  EXPECT_FALSE(whereabouts.NameOf(ObjectId(3, 0)));
}

TEST(Whereabouts, NamesGivenDuringASearchAreHandedOver) {
  Whereabouts whereabouts;
  whereabouts.NoteNameAdded(kFile, kRootObject, "before");
  whereabouts.StartWatching();
  EXPECT_TRUE(whereabouts.TakeNewlyNamed()->empty());
  whereabouts.NoteNameAdded(kFile, kRootObject, "during");
  EXPECT_EQ(*whereabouts.TakeNewlyNamed(), std::vector{kFile});
  whereabouts.StopWatching();
}

TEST(Whereabouts, WhatIsWrittenDownIsWrittenAgainWhenItMoves) {
  Whereabouts whereabouts;
  whereabouts.Note(kDirectory, kRootObject, "d");
  whereabouts.Note(kFile, kDirectory, "f");
  EXPECT_EQ(whereabouts.TakeUnwritten(kFile).size(), 2u);
  EXPECT_TRUE(whereabouts.TakeUnwritten(kFile).empty());
  EXPECT_TRUE(whereabouts.TakeOutdated().empty());
  whereabouts.NoteNameAdded(kDirectory, kRootObject, "e");
  const auto outdated = whereabouts.TakeOutdated();
  ASSERT_EQ(outdated.size(), 1u);
  EXPECT_EQ(outdated[0].name, (EntryKey{kRootObject, "e"}));
  whereabouts.ForgetWritten();
  EXPECT_EQ(whereabouts.TakeUnwritten(kFile).size(), 2u);
}

}  // namespace
}  // namespace tandem::meta
