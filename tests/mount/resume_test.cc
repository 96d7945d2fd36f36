// A first copy, or a long change set, that is broken off goes on where it was.
#include <signal.h>

#include <filesystem>

#include "tests/files.h"
#include "tests/mount_fixture.h"

namespace tandem::test {
namespace {

class Resume : public MountTest {
 protected:
  // What may be sent again each time: the largest window, which a replica whose disk is slow to
  // answer may get, and some of it once more in vain.
  static constexpr uint64_t kAgain = 12 * kMiB;
  static constexpr uint64_t kFileBytes = 48 * kMiB;
  static constexpr int kFiles = 4;
  static constexpr uint64_t kAll = kFiles * kFileBytes;

  static std::string File(const std::string& directory, int number) {
    return directory + "/large" + std::to_string(number);
  }
  static void MakeTree(const std::string& directory) {
    for (int i = 0; i < kFiles; ++i) {
      Write(File(directory, i), RandomBytes(kFileBytes, static_cast<uint64_t>(i)));
    }
    std::filesystem::create_directories(directory + "/small");
    for (int i = 0; i < 500; ++i) {
      Write(directory + "/small/" + std::to_string(i), "content " + std::to_string(i));
    }
  }
  // Waits until the running mount has sent so much in all: on a fast machine it may have done so
  // already. Returns what it has sent.
  uint64_t AwaitSent(uint64_t in_all) {
    uint64_t sent = 0;
    EXPECT_TRUE(WaitFor([&] {
      sent = mount_.SentBytes();
      return sent >= in_all;
    }));
    return sent;
  }
};

TEST_F(Resume, ASeedGoesOnAfterTheReplicaWasKilled) {
  MakeTree(source_);
  ASSERT_TRUE(StartBoth());
  constexpr int kKills = 3;
  for (int i = 0; i < kKills; ++i) {
    AwaitSent(kAll / 5 * static_cast<uint64_t>(i + 1));
    replica_.Kill();
    ASSERT_TRUE(replica_.Start());
  }
  EXPECT_TRUE(Converges());
  EXPECT_LT(mount_.SentBytes(), kAll + kKills * kAgain);
  EXPECT_EQ(mount_.Verify({"--full"}).code, 0);
}

TEST_F(Resume, ASeedGoesOnAfterTheSourceWasKilled) {
  MakeTree(source_);
  ASSERT_TRUE(StartBoth());
  uint64_t sent = 0;
  for (int i = 0; i < 3; ++i) {
    sent += AwaitSent(kAll / 5);
    mount_.Kill();
    ASSERT_TRUE(mount_.Start());
  }
  EXPECT_TRUE(Converges());
  EXPECT_LT(sent + mount_.SentBytes(), kAll + 3 * kAgain);
  EXPECT_EQ(mount_.Verify({"--full"}).code, 0);
}

// What changes while the copy is broken off, or between two attempts, wins over what was sent.
TEST_F(Resume, WhatChangedMeanwhileIsNotTakenForSent) {
  MakeTree(source_);
  ASSERT_TRUE(StartBoth());
  AwaitSent(kAll / 2);
  const auto change = [&](uint64_t seed) {
    for (int i = 0; i < kFiles; ++i) {
      WriteAt(File(mount_.path(), i), seed * kMiB, RandomBytes(100'000, seed));
    }
    std::filesystem::remove(mount_.path() + "/small/" + std::to_string(seed));
    std::filesystem::rename(mount_.path() + "/small/" + std::to_string(seed + 10),
                            mount_.path() + "/moved" + std::to_string(seed));
    std::filesystem::resize_file(mount_.path() + "/small/" + std::to_string(seed + 20), 3);
  };
  change(1);
  replica_.Kill();
  change(2);
  std::filesystem::resize_file(File(mount_.path(), 0), kFileBytes / 2);
  std::filesystem::remove(File(mount_.path(), 1));
  ASSERT_TRUE(replica_.Start());
  AwaitSent(kAll / 2 + kAll / 10);
  mount_.Kill();
  ASSERT_TRUE(mount_.Start());
  change(3);
  EXPECT_TRUE(Converges());
  const Outcome verified = mount_.Verify({"--full"});
  EXPECT_EQ(verified.code, 0) << verified;
}

// Objects that the second walk does not meet, because they move to where it has been.
TEST_F(Resume, WhatMovesPastTheSecondWalkIsSentAllTheSame) {
  constexpr int kDirectories = 300;
  for (int i = 0; i < kDirectories; ++i) {
    const std::string below = source_ + "/" + std::to_string(i) + "/d";
    std::filesystem::create_directories(below);
    for (int j = 0; j < 5; ++j) {
      Write(below + "/" + std::to_string(j), RandomBytes(20'000, static_cast<uint64_t>(j)));
    }
  }
  ASSERT_TRUE(StartBoth());
  AwaitSent(15 * kMiB);
  replica_.Kill();
  ASSERT_TRUE(replica_.Start());
  for (int i = kDirectories - 1; i > 0; --i) {
    const std::string from = mount_.path() + "/" + std::to_string(i);
    std::filesystem::rename(from + "/d/0", mount_.path() + "/0/file" + std::to_string(i));
    std::filesystem::rename(from + "/d", mount_.path() + "/0/d" + std::to_string(i));
  }
  EXPECT_TRUE(Converges());
  const Outcome verified = mount_.Verify({"--full"});
  EXPECT_EQ(verified.code, 0) << verified;
}

TEST_F(Resume, ALongChangeSetGoesOn) {
  Write(source_ + "/first", "content");
  ASSERT_TRUE(StartBoth());
  ASSERT_TRUE(mount_.Sync());
  ASSERT_TRUE(replica_.Stop());
  MakeTree(mount_.path());
  ASSERT_TRUE(replica_.Start());
  const uint64_t before = mount_.SentBytes();
  AwaitSent(before + kAll / 2);
  replica_.Kill();
  ASSERT_TRUE(replica_.Start());
  EXPECT_TRUE(Converges());
  EXPECT_LT(mount_.SentBytes() - before, kAll + kAgain);
  EXPECT_EQ(mount_.Verify({"--full"}).code, 0);
}

TEST_F(Resume, APausedSeedGoesOn) {
  MakeTree(source_);
  ASSERT_TRUE(StartBoth());
  AwaitSent(kAll / 2);
  ASSERT_EQ(mount_.Tandem("pause").code, 0);
  EXPECT_TRUE(WaitFor([&] { return mount_.State() == "paused"; }));
  ASSERT_EQ(mount_.Tandem("resume").code, 0);
  EXPECT_TRUE(Converges());
  EXPECT_LT(mount_.SentBytes(), kAll + kAgain);
}

}  // namespace
}  // namespace tandem::test
