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
  EXPECT_TRUE(parsed->optimizations.reader_spin);
}

TEST(MountArguments, EachOptimizationIsDisabledByItself) {
  const auto one = Parse({"--disable", "known-names"});
  ASSERT_TRUE(one) << one.error().ToString();
  EXPECT_TRUE(one->optimizations.walk_order);
  EXPECT_FALSE(one->optimizations.known_names);
  EXPECT_TRUE(one->optimizations.reader_policy);
  for (const std::vector<std::string>& all : std::vector<std::vector<std::string>>{
           {"--disable", "walk-order,known-names,reader-policy,reader-spin"},
           {"--disable=walk-order", "--disable", "reader-policy", "--disable=known-names",
            "--disable=reader-spin"}}) {
    const auto none = Parse(all);
    ASSERT_TRUE(none) << none.error().ToString();
    EXPECT_FALSE(none->optimizations.walk_order);
    EXPECT_FALSE(none->optimizations.known_names);
    EXPECT_FALSE(none->optimizations.reader_policy);
    EXPECT_FALSE(none->optimizations.reader_spin);
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

TEST(MountArguments, AReplicaMayBeTheFileOfAnInvitation) {
  const auto parsed =
      Parse({"--replica", "backup=@/run/token", "--replica", "@-", "-o", "replica=x=@y"});
  ASSERT_TRUE(parsed) << parsed.error().ToString();
  ASSERT_EQ(parsed->replicas.size(), 3u);
  EXPECT_EQ(parsed->replicas[0].name, "backup");
  EXPECT_EQ(parsed->replicas[0].url, "@/run/token");
  EXPECT_EQ(parsed->replicas[1].name, "");
  EXPECT_EQ(parsed->replicas[1].url, "@-");
  EXPECT_EQ(parsed->replicas[2].url, "@y");
}

TEST(MountArguments, ATokenItselfIsRefusedAndNotRepeated) {
  for (const std::string token : {"tandem-invite-1.c2VjcmV0", "backup=tandem-invite-1.c2VjcmV0"}) {
    const auto parsed = Parse({"--replica", token});
    ASSERT_FALSE(parsed);
    EXPECT_THAT(parsed.error().ToString(), HasSubstr("--replica [NAME=]@FILE"));
    EXPECT_THAT(parsed.error().ToString(), testing::Not(HasSubstr("c2VjcmV0")));
  }
}

}  // namespace
}  // namespace tandem::tools
