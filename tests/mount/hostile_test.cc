// Hostile peers at the daemon's door (tests/programs/hostile_client.cc), and an honest source
// beside them: its syncs stay quick, and what the attack took is given back when it is over.
#include <gmock/gmock.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>

#include "tests/files.h"
#include "tests/link.h"
#include "tests/mount_fixture.h"

namespace tandem::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#elif !defined(__has_feature)
constexpr bool kSanitized = false;
#elif __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

// What a daemon may take for an attack, and may keep of it. A sanitizer keeps freed memory itself.
constexpr uint64_t kMostMemory = (kSanitized ? 2048ull : 128ull) << 20;
constexpr uint64_t kMostKept = (kSanitized ? 1024ull : 48ull) << 20;
constexpr size_t kMostDescriptorsKept = 24;
constexpr milliseconds kLongestSync{1000};
// Longer than tandemd keeps a volume open of which nothing is heard.
constexpr seconds kGivenBackWithin{20};

struct Held {
  uint64_t memory = 0;  // resident bytes
  size_t descriptors = 0;
};
std::ostream& operator<<(std::ostream& stream, const Held& held) {
  return stream << (held.memory >> 20) << " MiB, " << held.descriptors << " descriptors";
}

Held HeldBy(const Process& process) {
  const std::string proc = "/proc/" + std::to_string(process.pid());
  Held held;
  std::ifstream status(proc + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmRSS:")) held.memory = std::stoull(line.substr(6)) << 10;
  }
  for (const auto& fd : std::filesystem::directory_iterator(proc + "/fd")) {
    held.descriptors += static_cast<size_t>(fd.is_symlink());
  }
  return held;
}

class Hostile : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped()) return;
    replica_.more() = {"--listen", ipc_};
    ASSERT_TRUE(StartBoth());
    usual_ = SlowestSync(milliseconds(200));
    before_ = HeldBy(replica_.process());
  }

  // Writes a little and syncs, again and again.
  milliseconds SlowestSync(milliseconds time) {
    milliseconds slowest{0};
    for (const auto end = Clock::now() + time; Clock::now() < end;) {
      Write(mount_.path() + "/file", RandomBytes(1000, static_cast<uint64_t>(++writes_)));
      const auto begun = Clock::now();
      EXPECT_TRUE(mount_.Sync(10));
      const auto took = std::chrono::duration_cast<milliseconds>(Clock::now() - begun);
      slowest = std::max(slowest, took);
    }
    return slowest;
  }

  // The attack from another address than the source's, since peers are counted by address.
  Launch Attack(const std::string& mode, const std::string& url,
                std::vector<std::string> options = {}) const {
    std::vector<std::string> command = {Program("tests/hostile_client"), mode, url};
    command.insert(command.end(), options.begin(), options.end());
    if (!url.starts_with("ipc")) command.emplace_back("from=127.0.0.2");
    return Launch{command};
  }

  // Runs the attack for about a second while the source writes.
  void Endure(const Launch& attack) {
    SCOPED_TRACE(attack.command[1] + " at " + attack.command[2]);
    Process client(attack);
    ASSERT_TRUE(
        WaitFor([&] { return client.out().starts_with("attacking") || !client.running(); }));
    ASSERT_TRUE(client.running()) << client.err();
    const milliseconds slowest = SlowestSync(seconds(1));
    // On a machine that is slow just now everything is: it was so before the attack.
    EXPECT_LE(slowest, std::max(kLongestSync, 4 * usual_))
        << "without the attack " << usual_.count();
    ASSERT_TRUE(replica_.process().running()) << replica_.process().err();
    const Held during = HeldBy(replica_.process());
    EXPECT_LE(during.memory, before_.memory + kMostMemory) << during;
    EXPECT_TRUE(client.running()) << client.err();
    client.Signal(SIGKILL);
    client.Wait();
    EXPECT_THAT(client.out(), Not(HasSubstr("WRONG")));
    const bool given_back = WaitFor(
        [&] {
          const Held now = HeldBy(replica_.process());
          return now.memory <= before_.memory + kMostKept &&
                 now.descriptors <= before_.descriptors + kMostDescriptorsKept;
        },
        kGivenBackWithin);
    EXPECT_TRUE(given_back) << "before " << before_ << ", after " << HeldBy(replica_.process());
    std::cout << attack.command[1] << " at " << attack.command[2] << ": slowest sync "
              << slowest.count() << " ms, without " << usual_.count() << " ms; before " << before_
              << "; during " << during << "; after " << HeldBy(replica_.process()) << "\n"
              << client.out().substr(0, 200) << "\n";
  }
  void EndureBoth(const std::string& mode, const std::vector<std::string>& options = {}) {
    Endure(Attack(mode, replica_.url(), options));
    Endure(Attack(mode, ipc_, options));
    EXPECT_TRUE(Converges());
  }

  const std::string ipc_ = "ipc://" + scratch_.Path("socket");
  milliseconds usual_{0};
  Held before_;
  int writes_ = 0;
};

TEST_F(Hostile, GarbageDelaysNobody) { EndureBoth("garbage"); }

TEST_F(Hostile, OtherProtocolsDelayNobody) {
  EndureBoth("greetings");
  EndureBoth("old");
}

TEST_F(Hostile, TwoThousandConnectionsDelayNobody) {
  Endure(Attack("idle", replica_.url(), {"count=2000"}));
  Endure(Attack("greeted", replica_.url(), {"count=400"}));
  EXPECT_TRUE(Converges());
}

TEST_F(Hostile, IdleConnectionsOfThisHostDelayNobody) {
  Endure(Attack("idle", ipc_, {"count=400"}));
  Endure(Attack("greeted", ipc_, {"count=400"}));
  EXPECT_TRUE(Converges());
}

TEST_F(Hostile, HalfFramesDelayNobodyAndTakeNoMemory) {
  EndureBoth("half");
  EndureBoth("huge");
}

TEST_F(Hostile, PeersThatNeverReadDelayNobody) { EndureBoth("never-read"); }

TEST_F(Hostile, SlowPeersDelayNobody) { EndureBoth("slow"); }

TEST_F(Hostile, FloodsOfVolumesDelayNobody) { EndureBoth("hellos"); }

TEST_F(Hostile, FloodsOfStagesDelayNobody) { EndureBoth("begins"); }

TEST_F(Hostile, NumbersAtTheEndDelayNobody) { EndureBoth("odd"); }

TEST_F(Hostile, BombsDelayNobodyAndTakeNoMemory) { EndureBoth("bombs"); }

TEST_F(Hostile, ASessionThatIsReplayedChangesNothing) {
  Link link{replica_.url()};
  ASSERT_TRUE(mount_.Unmount());
  mount_.options().replicas = {"one=" + link.url()};
  ASSERT_TRUE(mount_.Start());
  (void)SlowestSync(milliseconds(200));
  const std::string bytes = scratch_.Path("recorded");
  Write(bytes, link.recorded());
  ASSERT_GT(std::filesystem::file_size(bytes), 1000u);
  Endure(Attack("replay", replica_.url(), {"bytes=" + bytes}));
  EXPECT_TRUE(Converges());
  EXPECT_EQ(mount_.Verify().code, 0);
}

}  // namespace
}  // namespace tandem::test
