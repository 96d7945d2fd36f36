// Alterations that a slow disk makes wait, and the cuts taken meanwhile.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "meta/source/slow_disk.h"
#include "tests/files.h"
#include "tests/process.h"
#include "tests/unit/tracked_directory.h"

namespace tandem::meta {
namespace {

using std::chrono::milliseconds;

class Straddling : public testing::Test {
 protected:
  // A write of `bytes`, as if the disk made it wait for `during` in the middle.
  template <typename During>
  void WriteSlowly(const std::string& name, uint64_t offset, const std::string& bytes,
                   During during, bool is_long = true) {
    const ObjectRef file = directory_.Find(name);
    const ByteRange range = ByteRange::Of(offset, bytes.size());
    const UniqueFd fd(open(directory_.Path(name).c_str(), O_WRONLY | O_CLOEXEC));
    Operation operation = directory_.Begin(Intent().Data(file, range).Long(is_long));
    operation.Alter(file, range, [&] {
      const size_t half = bytes.size() / 2;
      EXPECT_EQ(pwrite(fd.get(), bytes.data(), half, static_cast<off_t>(offset)),
                static_cast<ssize_t>(half));
      during();
      const std::string_view rest = std::string_view(bytes).substr(half);
      EXPECT_EQ(pwrite(fd.get(), rest.data(), rest.size(), static_cast<off_t>(offset + half)),
                static_cast<ssize_t>(rest.size()));
    });
    operation.Wrote(file, range);
  }
  std::shared_ptr<FrozenCut> Cut(Epoch after = Epoch()) {
    return directory_.tracker().TakeCut(after, Tracker::CutMode::kFresh).value();
  }
  const ObjectChange* ChangeIn(FrozenCut& cut, const std::string& name) {
    return cut.changes().Find(directory_.Find(name).id);
  }
  static std::string ContentOf(ObjectReader& reader) {
    const Attributes attributes = reader.ReadAttributes(WithXattrs::kNo).value();
    std::string content(attributes.size, '?');
    EXPECT_EQ(reader.Read(0, content).value(), content.size());
    return content;
  }

  TrackedDirectory directory_;
};

TEST_F(Straddling, ACutComesWhileTheDiskMakesAWriteWaitAndHoldsItsRange) {
  directory_.CreateFile("file");
  const Epoch before = Cut()->cut().name.epoch;
  std::shared_ptr<FrozenCut> during;
  WriteSlowly("file", 0, "0123456789", [&] {
    during = Cut(before);
    const ObjectChange* const change = ChangeIn(*during, "file");
    ASSERT_NE(change, nullptr);
    EXPECT_EQ(change->data.ToVector(), (std::vector<ByteRange>{{0, 10}}));
    EXPECT_EQ(change->attributes & kStatAttributes, kStatAttributes);
    // As far as it has come.
    const auto reader = during->Open(directory_.Find("file")).value();
    EXPECT_EQ(ContentOf(*reader), "01234");
  });
  const auto after = Cut(during->cut().name.epoch);
  ASSERT_NE(ChangeIn(*after, "file"), nullptr);
  EXPECT_EQ(ChangeIn(*after, "file")->data.ToVector(), (std::vector<ByteRange>{{0, 10}}));
}

TEST_F(Straddling, EveryCutTakenMeanwhileHoldsTheRange) {
  directory_.CreateFile("file");
  Epoch last = Cut()->cut().name.epoch;
  WriteSlowly("file", 0, "0123456789", [&] {
    for (int i = 0; i < 3; ++i) {
      const auto cut = Cut(last);
      ASSERT_NE(ChangeIn(*cut, "file"), nullptr) << i;
      last = cut->cut().name.epoch;
    }
  });
}

TEST_F(Straddling, ItMakesNoChangesThatNobodyElseMade) {
  directory_.CreateFile("file");
  Epoch cut;
  WriteSlowly("file", 0, "0123456789", [&] {
    cut = Cut()->cut().name.epoch;
    EXPECT_LE(directory_.tracker().NewestChange(), cut);
  });
  EXPECT_GT(directory_.tracker().NewestChange(), cut);
}

// What a cut frozen before needs is kept before the write begins.
TEST_F(Straddling, ACutFrozenBeforeShowsWhatWasThere) {
  directory_.CreateFile("file");
  directory_.Write("file", 0, "before....");
  const auto cut = Cut();
  WriteSlowly("file", 0, "0123456789", [&] {
    const auto reader = cut->Open(directory_.Find("file")).value();
    EXPECT_EQ(ContentOf(*reader), "before....");
  });
}

TEST_F(Straddling, ANewbornIsMarkedForItMayBeNoneAnyMoreAtTheEnd) {
  directory_.CreateFile("file");
  const size_t hot = directory_.CountHot();
  WriteSlowly("file", 0, "0123456789", [&] { EXPECT_GT(directory_.CountHot(), hot); });
}

TEST_F(Straddling, ASyncClaimsNoCutThatIsStraddled) {
  directory_.CreateFile("file");
  const Epoch before = Cut()->cut().name.epoch;
  WriteSlowly("file", 0, "0123456789", [&] {
    const Epoch during = Cut(before)->cut().name.epoch;
    ASSERT_TRUE(directory_.tracker().EndWindow(/*all=*/false));
    EXPECT_LT(directory_.tracker().synced(), during);
    EXPECT_GE(directory_.tracker().synced(), before);
  });
  const Epoch after = Cut()->cut().name.epoch;
  ASSERT_TRUE(directory_.tracker().EndWindow(/*all=*/false));
  EXPECT_EQ(directory_.tracker().synced(), after);
}

TEST_F(Straddling, WritesDoSoOnlyAfterTheDiskWasFoundSlow) {
  directory_.CreateFile("file");
  (void)Cut();
  std::atomic<bool> cut_taken{false};
  std::thread cutter;
  const auto slow = [&] {
    cutter = std::thread([&] {
      (void)Cut();
      cut_taken = true;
    });
    std::this_thread::sleep_for(10 * SlowDisk::kSlow);
    EXPECT_FALSE(cut_taken);
  };
  WriteSlowly("file", 0, "0123456789", slow, /*is_long=*/false);
  cutter.join();
  EXPECT_TRUE(cut_taken);
  WriteSlowly(
      "file", 0, "0123456789", [&] { (void)Cut(); }, /*is_long=*/false);
}

// The tracker's own tries, with operations that overlap.
TEST_F(Straddling, CutsComeThoughOperationsOverlapForEver) {
  directory_.CreateFile("file");
  const ObjectRef file = directory_.Find("file");
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      while (!stop) {
        Operation operation = directory_.Begin(Intent().Attributes(file));
        std::this_thread::sleep_for(milliseconds(60));
        operation.ChangedAttributes(file, kStatAttributes);
      }
    });
    std::this_thread::sleep_for(milliseconds(15));
  }
  std::atomic<int> cuts{0};
  std::thread cutter([&] {
    for (; cuts < 3; ++cuts) (void)Cut();
  });
  EXPECT_TRUE(test::WaitFor([&] { return cuts == 3; }));
  stop = true;
  for (std::thread& thread : threads) thread.join();
  cutter.join();
}

TEST(SlowDisk, IsForgottenAfterAWhile) {
  SlowDisk disk;
  const auto now = SlowDisk::Clock::now();
  disk.Note(SlowDisk::kSlow / 2, now);
  EXPECT_FALSE(disk.IsSlow());
  disk.Note(SlowDisk::kSlow, now);
  EXPECT_TRUE(disk.IsSlow());
  disk.Note(SlowDisk::kSlow, now - SlowDisk::kRemembered);
  EXPECT_FALSE(disk.IsSlow());
  EXPECT_FALSE(disk.IsSlow());
}

}  // namespace
}  // namespace tandem::meta
