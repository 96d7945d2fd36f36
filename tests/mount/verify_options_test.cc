// Options of tandem verify: what is interrupted and gone on with, limits, holes, JSON.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "tests/files.h"
#include "tests/mount_fixture.h"

namespace tandem::test {
namespace {

namespace stdfs = std::filesystem;
using Json = nlohmann::json;

std::vector<Json> Lines(const std::string& text) {
  std::vector<Json> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    lines.push_back(Json::parse(line, nullptr, /*allow_exceptions=*/false));
  }
  return lines;
}

class VerifyOptions : public MountTest {
 protected:
  // Files that take a verify at `kRate` some seconds.
  static constexpr int kFiles = 40;
  static constexpr const char* kRate = "1M";
  void MakeFiles() {
    for (int i = 0; i < kFiles; ++i) {
      const std::string directory = source_ + "/d" + std::to_string(i / 10);
      stdfs::create_directories(directory);
      Write(directory + "/f" + std::to_string(i),
            std::string(100'000, static_cast<char>('a' + i % 26)));
    }
  }
  void Damage(int file) {
    const std::string path =
        replica_.tree() + "/d" + std::to_string(file / 10) + "/f" + std::to_string(file);
    WriteAt(path, 50'000, "X");
  }
  size_t StoredVerifies() {
    size_t count = 0;
    for (const auto& entry : stdfs::directory_iterator(mount_.options().state)) {
      const std::string name = entry.path().filename();
      if (name.starts_with("verify-") && !name.ends_with(".new")) ++count;
    }
    return count;
  }
};

TEST_F(VerifyOptions, RateLimitsWhatIsRead) {
  MakeFiles();
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  const auto begun = Clock::now();
  EXPECT_EQ(mount_.Verify({"--rate", kRate}).code, 0);
  EXPECT_GE(Clock::now() - begun, seconds(3)) << "4 MB at 1 MiB a second";
  EXPECT_EQ(mount_.Verify({"--rate", "nonsense"}).code, 16);
}

TEST_F(VerifyOptions, AnInterruptedVerifyGoesOnWhereItWas) {
  MakeFiles();
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  for (const int file : {0, 15, 39}) Damage(file);
  EXPECT_EQ(mount_.Verify({"--resume"}).code, 16) << "nothing was interrupted";
  Process verify({{Program("tandem"), "verify", mount_.path(), "--full", "--rate", kRate}});
  (void)verify.Wait(milliseconds(1500));
  ASSERT_TRUE(verify.running());
  const auto stopping = Clock::now();
  verify.Signal(SIGINT);
  EXPECT_EQ(verify.Wait(), 8) << verify.out() << verify.err();
  EXPECT_LT(Clock::now() - stopping, seconds(2));
  EXPECT_NE(verify.err().find("--resume"), std::string::npos) << verify.err();
  EXPECT_EQ(StoredVerifies(), 1u);
  EXPECT_EQ(mount_.Verify({"--resume", "--full"}).code, 16) << "it goes on with its own options";

  const Outcome rest = mount_.Verify({"--resume", "--json"});
  EXPECT_EQ(rest.code, 4) << rest;
  const std::vector<Json> lines = Lines(rest.out);
  std::set<std::string> paths;
  for (const Json& line : lines) paths.insert(line.value("path", ""));
  for (const std::string path : {"d0/f0", "d1/f15", "d3/f39"}) EXPECT_TRUE(paths.contains(path));
  ASSERT_FALSE(lines.empty());
  EXPECT_GE(lines.back().value("objects", 0), kFiles + 5);
  EXPECT_EQ(StoredVerifies(), 0u);
  EXPECT_EQ(mount_.Verify({"--resume"}).code, 16);
}

// Also by a kill: what is left is stored every few seconds.
TEST_F(VerifyOptions, AVerifyGoesOnAfterTandemfsWasKilled) {
  MakeFiles();
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  Damage(39);
  Process verify({{Program("tandem"), "verify", mount_.path(), "--full", "--rate", "100K"}});
  ASSERT_TRUE(WaitFor([this] { return StoredVerifies() == 1; }));
  mount_.Kill();
  EXPECT_EQ(verify.Wait(), 8) << verify.out() << verify.err();
  ASSERT_TRUE(mount_.Start());
  ASSERT_TRUE(mount_.Sync());
  const Outcome rest = mount_.Verify({"--resume", "--repair"});
  EXPECT_EQ(rest.code, 1) << rest;
  EXPECT_EQ(mount_.Verify().code, 0);
  EXPECT_EQ(StoredVerifies(), 0u);
}

// A file is followed by its id, and what a verify of a part does is not what was interrupted.
TEST_F(VerifyOptions, WhatIsRenamedAfterAnInterruptionIsStillCompared) {
  MakeFiles();
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  for (int file = 0; file < kFiles; ++file) Damage(file);
  Process verify({{Program("tandem"), "verify", mount_.path(), "--full", "--rate", "500K"}});
  ASSERT_TRUE(WaitFor([this] { return StoredVerifies() == 1; }));
  verify.Signal(SIGINT);
  EXPECT_EQ(verify.Wait(), 8) << verify.out() << verify.err();
  EXPECT_EQ(mount_.Verify({"no-such-file"}).code, 8);
  EXPECT_EQ(mount_.Verify({"d0"}).code, 4);
  for (int i = 0; i < kFiles / 10; ++i) {
    stdfs::rename(mount_.path() + "/d" + std::to_string(i),
                  mount_.path() + "/renamed" + std::to_string(i));
  }
  ASSERT_TRUE(mount_.Sync());
  const Outcome rest = mount_.Verify({"--resume"});
  EXPECT_EQ(rest.code, 4) << rest;
  for (int file = 0; file < kFiles; ++file) {
    EXPECT_NE(rest.out.find("/f" + std::to_string(file) + ": "), std::string::npos) << file;
  }
}

TEST_F(VerifyOptions, HolesFilledWithZerosDifferOnlyInAllocation) {
  constexpr off_t kSize = 2 << 20;
  Write(source_ + "/sparse", "start");
  ASSERT_EQ(0, truncate((source_ + "/sparse").c_str(), kSize));
  Write(source_ + "/dense", std::string(kSize, '\0'));
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  ASSERT_EQ(mount_.Verify({"--allocation", "sparse"}).code, 0);
  const std::string replica = replica_.tree() + "/sparse";
  const struct stat before = Lstat(replica);
  WriteAt(replica, 1 << 20, std::string(256 << 10, '\0'));
  SetTimes(replica, before.st_atim, before.st_mtim);
  EXPECT_EQ(mount_.Verify({"sparse"}).code, 0);
  const Outcome found = mount_.Verify({"--allocation", "sparse"});
  EXPECT_EQ(found.code, 4) << found;
  EXPECT_NE(found.out.find("allocation: sparse: bytes 1048576 to 1310720 "), std::string::npos)
      << found;
  EXPECT_EQ(mount_.Verify({"--allocation", "--repair", "sparse"}).code, 1);
  EXPECT_EQ(mount_.Verify({"--allocation", "sparse"}).code, 0);
}

TEST_F(VerifyOptions, JsonIsOneObjectALine) {
  MakeFiles();
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  Damage(7);
  ASSERT_EQ(0, chmod((replica_.tree() + "/d2").c_str(), 0700));
  const Outcome outcome = mount_.Verify({"--json"});
  EXPECT_EQ(outcome.code, 4) << outcome;
  const std::vector<Json> lines = Lines(outcome.out);
  ASSERT_EQ(lines.size(), 4u) << "content, mtime of the file, mode of the directory: " << outcome;
  for (const Json& line : lines) {
    ASSERT_TRUE(line.is_object()) << outcome;
    EXPECT_FALSE(line.value("replica", "").empty());
  }
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_TRUE(lines[i].contains("kind") && lines[i].contains("what")) << lines[i];
    EXPECT_GT(lines[i].value("cut", 0), 0) << lines[i];
  }
  EXPECT_EQ(lines.back().value("verdict", ""), "different");
  EXPECT_EQ(lines.back().value("differences", 0), 3);
}

TEST_F(VerifyOptions, ARepairOfManyDifferencesIsNotQuadratic) {
  const auto repair = [this](int from, int to) {
    for (int i = from; i < to; ++i) {
      const std::string path = replica_.tree() + "/many/f" + std::to_string(i);
      EXPECT_EQ(0, chmod(path.c_str(), 0600));
    }
    const auto begun = Clock::now();
    const Outcome repaired = mount_.Verify({"--repair"});
    EXPECT_EQ(repaired.code, 1) << repaired.err;
    return std::chrono::duration<double>(Clock::now() - begun).count();
  };
  stdfs::create_directory(source_ + "/many");
  for (int i = 0; i < 8000; ++i) Write(source_ + "/many/f" + std::to_string(i), "x");
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  const double few = repair(0, 1000);
  const double many = repair(0, 8000);
  EXPECT_LT(many, 24 * few + 2) << "8 times as many differences";
  EXPECT_EQ(mount_.Verify().code, 0);
}

}  // namespace
}  // namespace tandem::test
