// Metrics are what Prometheus takes: promtool (package prometheus) judges, where it is installed.
#include "tools/metrics/metrics.h"

#include <gmock/gmock.h>

#include <cstdlib>

#include "tests/files.h"
#include "tests/process.h"
#include "tests/scratch.h"

namespace tandem::tools {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Json AMount() {
  return {{"mount", "live"},
          {"mountpoint", "/srv/\"data\"\n"},
          {"volume", "data"},
          {"epoch", 7},
          {"replicas",
           {{{"name", "backup"},
             {"state", "blocked"},
             {"lag_seconds", 2.5},
             {"sent_bytes", 1000},
             {"content", {{"plain", 10}, {"delta", 20}}},
             {"pending", {{"bytes", 5}, {"objects", 1}}}}}}};
}

Json AStore() {
  return {{"store", "/backup"},
          {"free_bytes", 1000},
          {"volumes", {{{"account", "alice"}, {"volume", "v"}, {"epoch", 3}, {"cut_time", 100}}}}};
}

TEST(Metrics, TellOfReplicasMountsAndStores) {
  const Json dead = {{"mount", "dead"}, {"mountpoint", "/dead"}};
  const std::string text = MetricsText({AMount(), dead}, {AStore()});
  EXPECT_THAT(text, HasSubstr(R"(tandemfs_up{mountpoint="/srv/\"data\"\n",volume="data"} 1)"));
  EXPECT_THAT(text, HasSubstr(R"(tandemfs_up{mountpoint="/dead",volume=""} 0)"));
  EXPECT_THAT(text, HasSubstr("replica=\"backup\"} 2.5"));
  EXPECT_THAT(text, HasSubstr("state=\"blocked\"} 1"));
  EXPECT_THAT(text, HasSubstr("state=\"current\"} 0"));
  EXPECT_THAT(text, HasSubstr("tandemd_volume_applied_cut{store=\"/backup\",account=\"alice\""));
  EXPECT_THAT(MetricsText({}, {}), Not(HasSubstr("tandemfs")));
}

TEST(Metrics, ArePrometheusLike) {
  if (std::system("command -v promtool >/dev/null 2>&1") != 0) {
    GTEST_SKIP() << "no promtool (package prometheus)";
  }
  const test::Scratch scratch;
  test::Write(scratch.Path("metrics"), MetricsText({AMount(), AMount()}, {AStore()}));
  const test::Outcome checked =
      test::Execute({"sh", "-c", "promtool check metrics <\"$1\"", "sh", scratch.Path("metrics")});
  EXPECT_EQ(checked.code, 0) << checked;
  EXPECT_EQ(checked.err, "") << "no advice either";
}

}  // namespace
}  // namespace tandem::tools
