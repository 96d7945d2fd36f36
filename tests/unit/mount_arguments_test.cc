// The command line of tandemfs.
#include "tools/mount_arguments.h"

#include <gmock/gmock.h>

namespace tandem::tools {
namespace {

using ::testing::HasSubstr;

Result<MountArguments> Parse(std::vector<std::string> more) {
  std::vector<std::string> arguments = {"tandemfs", "/source", "/mountpoint"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  return ParseMountArguments(static_cast<int>(argv.size()), argv.data());
}

TEST(MountArguments, EveryOptimizationIsOnUnlessDisabled) {
  const auto parsed = Parse({});
  ASSERT_TRUE(parsed) << parsed.error().ToString();
  EXPECT_TRUE(parsed->optimizations.walk_order);
  EXPECT_TRUE(parsed->optimizations.known_names);
  EXPECT_TRUE(parsed->optimizations.reader_policy);
}

TEST(MountArguments, EachOptimizationIsDisabledByItself) {
  const auto one = Parse({"--disable", "known-names"});
  ASSERT_TRUE(one) << one.error().ToString();
  EXPECT_TRUE(one->optimizations.walk_order);
  EXPECT_FALSE(one->optimizations.known_names);
  EXPECT_TRUE(one->optimizations.reader_policy);
  for (const std::vector<std::string>& all : std::vector<std::vector<std::string>>{
           {"--disable", "walk-order,known-names,reader-policy"},
           {"--disable=walk-order", "--disable", "reader-policy", "--disable=known-names"}}) {
    const auto none = Parse(all);
    ASSERT_TRUE(none) << none.error().ToString();
    EXPECT_FALSE(none->optimizations.walk_order);
    EXPECT_FALSE(none->optimizations.known_names);
    EXPECT_FALSE(none->optimizations.reader_policy);
  }
}

TEST(MountArguments, AnUnknownOptimizationIsRefusedAndTheKnownAreNamed) {
  const auto parsed = Parse({"--disable", "walk-order,walkorder"});
  ASSERT_FALSE(parsed);
  EXPECT_EQ(parsed.error().kind(), ErrorKind::kUsage);
  for (const char* expected :
       {"--disable walkorder", "known-names", "reader-policy", "walk-order"}) {
    EXPECT_THAT(parsed.error().ToString(), HasSubstr(expected));
  }
}

}  // namespace
}  // namespace tandem::tools
