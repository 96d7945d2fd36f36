// What people type: lengths of time, and words with a letter wrong.
#include <gmock/gmock.h>

#include "tools/duration.h"
#include "tools/spelling.h"

namespace tandem::tools {
namespace {

using std::chrono::milliseconds;

TEST(Duration, HasUnits) {
  const std::pair<std::string, int64_t> lengths[] = {{"0", 0},
                                                     {"30", 30'000},
                                                     {"0.2", 200},
                                                     {"120.000000", 120'000},
                                                     {"500ms", 500},
                                                     {"30s", 30'000},
                                                     {"1.5s", 1500},
                                                     {"5m", 300'000},
                                                     {"2h", 7'200'000},
                                                     {"7d", 604'800'000},
                                                     {"0.0001s", 1},
                                                     {"0.4ms", 1},
                                                     {"8760h", 31'536'000'000}};
  for (const auto& [text, ms] : lengths) {
    const auto parsed = ParseDuration(text);
    ASSERT_TRUE(parsed) << parsed.error().ToString();
    EXPECT_EQ(*parsed, milliseconds(ms)) << text;
  }
}

TEST(Duration, WithoutSenseIsRefused) {
  for (const std::string text : {"", "s", "-1", "-0", "nan", "inf", "infinity", "1e3", "0x10",
                                 "5 s", "5w", "5S", "5ss", "8761h", "9999999999999", "1,5"}) {
    const auto parsed = ParseDuration(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error().kind(), ErrorKind::kUsage);
    EXPECT_THAT(parsed.error().ToString(), testing::HasSubstr("\"" + text + "\""));
    EXPECT_THAT(parsed.error().ToString(), testing::HasSubstr("500ms"));
  }
}

TEST(Spelling, TheNearestWordIsFound) {
  const std::vector<std::string> words = {"status", "sync", "pause", "resume", "verify"};
  for (const std::string word : {"stauts", "statsu", "stat", "Status", "statuss", "staus"}) {
    EXPECT_EQ(NearestWord(word, words), "status") << word;
  }
  EXPECT_EQ(NearestWord("snyc", words), "sync");
  EXPECT_EQ(NearestWord("veirfy", words), "verify");
  EXPECT_EQ(NearestWord("puase", words), "pause");
  for (const std::string far : {"", "s", "xy", "mount", "replication", "/srv/data"}) {
    EXPECT_EQ(NearestWord(far, words), "") << far;
  }
}

}  // namespace
}  // namespace tandem::tools
