// How often a test of random things tries: TANDEM_TEST_ROUNDS=N for more than usual.
#pragma once

#include <cstdlib>

namespace tandem::test {

inline int Rounds(int usual) {
  const char* rounds = getenv("TANDEM_TEST_ROUNDS");
  return rounds != nullptr ? atoi(rounds) : usual;
}

}  // namespace tandem::test
