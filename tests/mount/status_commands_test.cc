// What `tandem status` and `tandem events` say, to people and to monitoring.
#include <gmock/gmock.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <sstream>

#include "tests/files.h"
#include "tests/mount_fixture.h"

namespace tandem::test {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class StatusCommands : public MountTest {
 protected:
  std::string At(const std::string& name) const { return mount_.path() + "/" + name; }
  Json StoreStatus() const {
    const Outcome outcome =
        Execute({Program("tandem"), "status", "--store", replica_.store(), "--json"});
    EXPECT_EQ(outcome.code, 0) << outcome;
    return Json::parse(outcome.out, nullptr, /*allow_exceptions=*/false);
  }
};

TEST_F(StatusCommands, ACheckSaysWhatIsWrongInOneLine) {
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  const Outcome well = mount_.Tandem("status", {"--check"});
  EXPECT_EQ(well.code, 0);
  EXPECT_THAT(well.out, StartsWith("TANDEM OK - "));
  EXPECT_THAT(well.out, HasSubstr("lag'="));
  replica_.Kill();
  Write(At("file"), "text");
  const auto check = [this](const std::string& warn, const std::string& critical) {
    return mount_.Tandem("status", {"--check", "--warn", warn, "--crit", critical});
  };
  EXPECT_TRUE(WaitFor([&] { return check("100ms", "1h").code == 1; }));
  EXPECT_TRUE(WaitFor([&] { return check("100ms", "200ms").code == 2; }));
  EXPECT_THAT(check("100ms", "200ms").out, HasSubstr("CRITICAL - " + mount_.path() + " replica"));
  ASSERT_TRUE(replica_.Start());
  EXPECT_TRUE(WaitFor([&] { return check("10s", "20s").code == 0; }));
  ASSERT_TRUE(mount_.Unmount());
  EXPECT_EQ(check("10s", "20s").code, 3);
}

TEST_F(StatusCommands, WaitReturnsWhenEveryReplicaIsThere) {
  ASSERT_TRUE(mount_.Start());
  Write(At("file"), "text");
  const Outcome late = mount_.Tandem("status", {"--wait", "seeded", "--timeout", "300ms"});
  EXPECT_EQ(late.code, 1);
  EXPECT_THAT(late.err, HasSubstr("not seeded in time: replica"));
  ASSERT_TRUE(replica_.Start());
  EXPECT_EQ(mount_.Tandem("status", {"--wait", "seeded", "--timeout", "60s"}).code, 0);
  EXPECT_EQ(mount_.Tandem("status", {"--wait", "current", "--timeout", "60s"}).code, 0);
  EXPECT_EQ(Read(replica_.tree() + "/file"), "text");
}

TEST_F(StatusCommands, AStoreTellsOfItsVolumes) {
  ASSERT_TRUE(StartBoth());
  Write(At("file"), "text");
  ASSERT_TRUE(mount_.Sync());
  const Json status = StoreStatus();
  ASSERT_EQ(status["volumes"].size(), 1u) << status;
  EXPECT_EQ(status["volumes"][0]["volume"], kVolume);
  EXPECT_EQ(status["volumes"][0]["state"], "applied");
  EXPECT_LT(status["volumes"][0]["age_seconds"], 120);
  EXPECT_GT(status["free_bytes"], 0);
  // Also while no daemon has it.
  ASSERT_TRUE(replica_.Stop());
  EXPECT_EQ(StoreStatus()["volumes"][0]["epoch"], status["volumes"][0]["epoch"]);
  const Outcome none = Execute({Program("tandem"), "status", "--store", scratch_.path()});
  EXPECT_EQ(none.code, 2);
  EXPECT_THAT(none.err, HasSubstr(scratch_.path() + " is no store"));
}

TEST_F(StatusCommands, EventsTellOfAReplicaThatGoesAndComes) {
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  Process follower(Launch{{Program("tandem"), "events", "--follow", mount_.path()}, {}});
  const auto printed = [&](const std::string& event, const std::string& state) {
    std::istringstream lines(follower.out());
    for (std::string line; std::getline(lines, line);) {
      const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
      if (json.is_discarded() || json.value("event", "") != event) continue;
      if (state.empty() || json.value("state", "") == state) return true;
    }
    return false;
  };
  // It follows once it has seen two cuts.
  ASSERT_TRUE(WaitFor([&, count = 0]() mutable {
    Write(At("file"), std::to_string(++count));
    return printed("cut", "");
  }));
  replica_.Kill();
  EXPECT_TRUE(WaitFor([&] { return printed("state", "connecting"); }));
  ASSERT_TRUE(replica_.Start());
  EXPECT_TRUE(WaitFor([&] { return printed("state", "current"); }));
  EXPECT_EQ(mount_.Verify().code, 0);
  EXPECT_TRUE(WaitFor([&] { return printed("verify", ""); }));
}

TEST_F(StatusCommands, ACommandIsRunForEachEvent) {
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  const std::string told = scratch_.Path("told");
  const Process follower(Launch{
      {Program("tandem"), "events", "--follow", "--exec", "cat >>'" + told + "'", mount_.path()},
      {}});
  EXPECT_TRUE(WaitFor([&, count = 0]() mutable {
    Write(At("file"), std::to_string(++count));
    return access(told.c_str(), F_OK) == 0 && Read(told).find("\"cut\"") != std::string::npos;
  }));
}

TEST_F(StatusCommands, AFileTellsWhetherReplicasHaveIt) {
  ASSERT_TRUE(StartBoth());
  Write(At("file"), "text");
  ASSERT_TRUE(mount_.Sync());
  const auto shown = [this](const std::string& name) -> std::string {
    char value[256];
    const ssize_t size = getxattr(At(name).c_str(), "tandem.status", value, sizeof value);
    return size < 0 ? "" : std::string(value, static_cast<size_t>(size));
  };
  EXPECT_THAT(shown("file"), StartsWith("one: applied, cut "));
  replica_.Kill();
  Write(At("file"), "other");
  Write(At("new"), "text");
  EXPECT_THAT(shown("file"), StartsWith("one: pending, cut "));
  EXPECT_THAT(shown("new"), StartsWith("one: pending, cut "));
  EXPECT_EQ(listxattr(At("file").c_str(), nullptr, 0), 0) << "it is not listed";
  EXPECT_EQ(getxattr(At("file").c_str(), "tandem.other", nullptr, 0), -1);
  EXPECT_EQ(errno, EOPNOTSUPP) << "as of the directory beneath";
  char little[3];
  EXPECT_EQ(getxattr(At("file").c_str(), "tandem.status", little, sizeof little), -1);
  EXPECT_EQ(errno, ERANGE);
  ASSERT_TRUE(replica_.Start());
  ASSERT_TRUE(mount_.Sync());
  EXPECT_THAT(shown("new"), StartsWith("one: applied, cut "));
}

TEST_F(StatusCommands, ColoursAreForTerminalsAlone) {
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  EXPECT_EQ(mount_.Tandem("status").out.find('\033'), std::string::npos);
}

}  // namespace
}  // namespace tandem::test
