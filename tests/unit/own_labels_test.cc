#include "replica/apply/own_labels.h"

#include <gtest/gtest.h>

namespace tandem::replica {
namespace {

TEST(OwnLabels, OfASecurityModuleThatRunsHere) {
  EXPECT_TRUE(IsOwnLabel("security.selinux", "lockdown,capability,selinux,ima,evm"));
  EXPECT_TRUE(IsOwnLabel("security.evm", "capability,evm"));
  EXPECT_TRUE(IsOwnLabel("security.SMACK64EXEC", "smack"));
  EXPECT_FALSE(IsOwnLabel("security.selinux", "capability,apparmor"));
  EXPECT_FALSE(IsOwnLabel("security.ima", ""));
  EXPECT_FALSE(IsOwnLabel("security.capability", "capability,selinux,smack,ima,evm"));
  EXPECT_FALSE(IsOwnLabel("user.selinux", "selinux"));
}

}  // namespace
}  // namespace tandem::replica
