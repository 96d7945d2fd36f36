// Tests whose programs are on hosts of a network of their own (tests/namespaces.h). Skips aloud
// where such cannot be made.
#pragma once

#include "tests/mount_fixture.h"
#include "tests/namespaces.h"

namespace tandem::test {

// Where replica daemons listen there.
inline constexpr int kPort = 7447;

class NetworkTest : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (!IsSkipped() && !Cable::IsPossible()) {
      GTEST_SKIP() << "makes networks: needs root, iproute2 and nftables";
    }
  }
};

}  // namespace tandem::test
