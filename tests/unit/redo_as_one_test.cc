// All that the catalog does not know is redone as one, from its cut.
#include <gtest/gtest.h>

#include <cstdlib>

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

// TANDEM_TEST_ROUNDS=N for more; the seed of each round is part of what a failure prints.
TEST_F(RedoAsOne, LeadsFromAnyCatalogAndAnyTreeToTheLastCut) {
  const char* rounds = getenv("TANDEM_TEST_ROUNDS");
  std::mt19937 seeds(1);
  for (int round = rounds != nullptr ? atoi(rounds) : 20; round > 0; --round) {
    const auto seed = static_cast<unsigned>(seeds());
    SCOPED_TRACE("seed " + std::to_string(seed));
    random_.seed(seed);
    model_ = Model();
    cuts_.clear();
    states_.resize(1);
    for (size_t cut = 0; cut < 5; ++cut) {
      for (unsigned steps = 1 + random_() % 30; steps > 0; --steps) model_.Mutate(random_);
      Cut();
    }
    const size_t kept = random_() % 4;
    const size_t applied = kept + 1 + random_() % (5 - kept);
    const ScratchDirectory store;
    ASSERT_NO_FATAL_FAILURE(Prepare(store.path(), kept, applied)) << kept << " " << applied;
    ASSERT_NO_FATAL_FAILURE(ExpectLast(store.path())) << kept << " " << applied;
  }
}

}  // namespace
}  // namespace tandem::replica
