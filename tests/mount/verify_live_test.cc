// tandem verify while everything changes: no false alarm, and what is planted is found.
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <filesystem>
#include <random>
#include <sstream>

#include "tests/files.h"
#include "tests/mount_fixture.h"

namespace tandem::test {
namespace {

class VerifyLive : public MountTest {
 protected:
  static constexpr int kDirectories = 40;
  static constexpr int kFiles = 25;

  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped()) return;
    std::filesystem::create_directory(source_ + "/busy");
    for (int i = 0; i < kDirectories; ++i) {
      std::filesystem::create_directories(source_ + "/still/" + std::to_string(i));
      for (int j = 0; j < kFiles; ++j) {
        Write(source_ + "/" + Still(i, j),
              RandomBytes(j == 0 ? 400'000 : 3000, static_cast<uint64_t>(i * kFiles + j)));
      }
    }
    ASSERT_TRUE(StartBoth());
    ASSERT_TRUE(mount_.Sync());
  }
  // A file that nobody writes.
  static std::string Still(int directory, int number) {
    return "still/" + std::to_string(directory) + "/file" + std::to_string(number);
  }
  // The lines that name differences.
  static std::vector<std::string> DifferencesIn(const std::string& out) {
    std::vector<std::string> found;
    std::istringstream lines(out);
    for (std::string line; std::getline(lines, line);) {
      if (line.find(": ") != std::string::npos && !line.starts_with("replica ")) {
        found.push_back(line);
      }
    }
    return found;
  }
  // Changes something on the replica that shows only in the content, or only in the attributes.
  void Plant(const std::string& path, bool content) {
    const std::string there = replica_.tree() + "/" + path;
    const struct stat before = Lstat(there);
    if (!content) {
      ASSERT_EQ(chmod(there.c_str(), before.st_mode ^ 0111), 0);
      return;
    }
    const auto at = static_cast<uint64_t>(before.st_size) - 1;
    WriteAt(there, at, std::string(1, static_cast<char>(Read(there)[at] ^ 1)));
    SetTimes(there, before.st_atim, before.st_mtim);
  }
};

TEST_F(VerifyLive, FindsWhatIsPlantedAndNothingElse) {
  const uint64_t seed = FreshSeed();
  std::mt19937 random(static_cast<uint32_t>(seed));
  Process workload(Workload(mount_.path() + "/busy", seed, {"--seconds", "0", "--threads", "2"}));
  const int runs = Times(3, 50);
  for (int i = 0; i < runs && !HasFailure(); ++i) {
    const bool full = i % 2 == 0;
    const Outcome none = full ? mount_.Verify() : mount_.VerifyQuickly();
    EXPECT_EQ(none.code, 0) << none << "\nlooked at again: " << mount_.Verify();
    const std::string path =
        Still(static_cast<int>(random() % kDirectories), static_cast<int>(random() % kFiles));
    ASSERT_NO_FATAL_FAILURE(Plant(path, full));
    const Outcome found = full ? mount_.Verify({"--repair"}) : mount_.VerifyQuickly({"--repair"});
    EXPECT_EQ(found.code, 1) << found;
    EXPECT_THAT(DifferencesIn(found.out), ::testing::ElementsAre(::testing::HasSubstr(path)));
  }
  EXPECT_TRUE(workload.running());
  EXPECT_TRUE(StopWorkload(workload));
  EXPECT_TRUE(Converges());
}

}  // namespace
}  // namespace tandem::test
