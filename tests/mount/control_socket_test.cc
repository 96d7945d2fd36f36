// What clients of the control socket do, and when, holds up neither status nor other mounts.
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <vector>

#include "tests/mount_fixture.h"
#include "tools/control.h"
#include "tools/unix_connection.h"

namespace tandem::test {
namespace {

class ControlSocket : public MountTest {
 protected:
  // Processor time of the tandemfs, in hundredths of a second.
  long Ticks() {
    std::ifstream file("/proc/" + std::to_string(mount_.process().pid()) + "/stat");
    const std::string stat{std::istreambuf_iterator<char>(file), {}};
    std::istringstream fields(stat.substr(stat.rfind(") ") + 2));
    std::string skipped;
    for (int i = 0; i < 11; ++i) fields >> skipped;
    long user = 0, system = 0;
    fields >> user >> system;
    return user + system;
  }
  void StopTheProcess() {
    mount_.process().Signal(SIGSTOP);
    ASSERT_TRUE(WaitFor([this] { return mount_.process().stopped(); }));
  }
  void ConnectAndGoAway() {
    const auto directory = tools::ControlDirectory(false);
    ASSERT_TRUE(directory);
    const std::string socket = tools::ControlSocket(*directory, mount_.path());
    EXPECT_TRUE(tools::UnixConnection::Connect(socket, Clock::now()));
  }
  Outcome StatusWithin(milliseconds limit, const Mount& mount) {
    return Execute({Program("tandem"), "status", mount.path()}, limit);
  }
  void ExpectWell() {
    const Outcome status = StatusWithin(seconds(1), mount_);
    EXPECT_EQ(status.code, 0) << status;
    const long before = Ticks();
    EXPECT_FALSE(WaitFor([&] { return Ticks() - before > 40; }, seconds(2))) << "it spins";
  }
};

TEST_F(ControlSocket, SurvivesClientsThatConnectAndGoAway) {
  ASSERT_TRUE(StartBoth());
  for (int i = 0; i < 300; ++i) ConnectAndGoAway();
  for (int i = 0; i < 100; ++i) StatusWithin(milliseconds(i % 10), mount_);
  ExpectWell();
}

TEST_F(ControlSocket, SurvivesClientsThatGiveUpWhileTheProcessIsStopped) {
  ASSERT_TRUE(StartBoth());
  for (int round = 0; round < 3; ++round) {
    ASSERT_NO_FATAL_FAILURE(StopTheProcess());
    for (int i = 0; i < 5; ++i) StatusWithin(milliseconds(100), mount_);
    ConnectAndGoAway();
    mount_.process().Signal(SIGCONT);
    ExpectWell();
  }
}

TEST_F(ControlSocket, OfAStoppedProcessCostsAClientItsTimeAndOtherMountsNothing) {
  ASSERT_TRUE(StartBoth());
  ASSERT_NO_FATAL_FAILURE(StopTheProcess());
  Mount::Options options = OptionsOf("another");
  options.source = scratch_.Directory("another source");
  options.volume = "another";
  Mount another(options);
  ASSERT_TRUE(another.Start());
  EXPECT_EQ(StatusWithin(seconds(1), another).code, 0);
  const Outcome status = Execute({Program("tandem"), "status", mount_.path()}, seconds(20));
  constexpr int kStuck = 5;
  EXPECT_EQ(status.code, kStuck) << status;
  EXPECT_NE(status.out.find("does not answer"), std::string::npos) << status;
  // Requests of clients that have given up are not carried out later.
  EXPECT_EQ(Execute({Program("tandem"), "pause", mount_.path()}, seconds(20)).code, 1);
  mount_.process().Signal(SIGCONT);
  ExpectWell();
  EXPECT_NE(mount_.State(), "paused");
}

}  // namespace
}  // namespace tandem::test
