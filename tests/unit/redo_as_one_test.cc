// All that the catalog does not know is redone as one, from its cut.
#include <gtest/gtest.h>

#include "tests/unit/interrupted_store.h"

namespace tandem::replica {
namespace {

using meta::Kind;
using RedoAsOne = InterruptedStore;

TEST_F(RedoAsOne, AppliesTheCutAgain) {
  TwoCutsOfAFile();
  const ScratchDirectory store;
  ASSERT_NO_FATAL_FAILURE(Prepare(store.path(), 1, 2));
  ExpectLast(store.path());
}

// From the first cut to the third no name leads through the directory.
TEST_F(RedoAsOne, FindsWhatIsOnItsWayThroughADirectoryThatGoes) {
  model_.Make("f", Kind::kFile, "content");
  model_.Make("o", Kind::kFile, "other");
  model_.Make("d", Kind::kDirectory);
  Cut();
  model_.Make("d/made", Kind::kDirectory);
  model_.Rename("f", "d/f");
  model_.Rename("o", "d/made/o");
  Cut();
  model_.Rename("d/f", "g");
  model_.Rename("d/made/o", "p");
  model_.Remove("d");
  Cut();
  const ScratchDirectory store;
  ASSERT_NO_FATAL_FAILURE(Prepare(store.path(), 1, 2));
  ExpectLast(store.path());
}

TEST_F(RedoAsOne, LeadsFromAnyCatalogAndAnyTreeToTheLastCut) {
  ForRounds([this] {
    for (size_t cut = 0; cut < 5; ++cut) {
      for (unsigned steps = 1 + random_() % 30; steps > 0; --steps) model_.Mutate(random_);
      Cut();
    }
    const size_t kept = random_() % 4;
    const size_t applied = kept + 1 + random_() % (5 - kept);
    SCOPED_TRACE(std::to_string(kept) + " " + std::to_string(applied));
    const ScratchDirectory store;
    ASSERT_NO_FATAL_FAILURE(Prepare(store.path(), kept, applied));
    ExpectLast(store.path());
  });
}

}  // namespace
}  // namespace tandem::replica
