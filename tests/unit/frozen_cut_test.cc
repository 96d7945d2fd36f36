// What a frozen cut shows is what was there at its instant, whatever is done since.
#include "meta/capture/frozen_cut.h"

#include <gtest/gtest.h>
#include <linux/falloc.h>
#include <sys/xattr.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <map>
#include <random>

#include "tests/unit/tracked_directory.h"

namespace tandem::meta {
namespace {

constexpr uint64_t kFileBytes = 300'000;

// What one object holds: enough to tell any change.
struct Value {
  std::string content;
  uint32_t permissions = 0;
  Timestamp modified;
  Xattrs xattrs;
  friend bool operator==(const Value&, const Value&) = default;
};

class FrozenCutTest : public testing::Test {
 protected:
  std::shared_ptr<FrozenCut> Cut(Epoch after = Epoch()) {
    auto cut = directory_.tracker().TakeCut(after);
    EXPECT_TRUE(cut) << cut.error().ToString();
    return *cut;
  }

  // As the sender reads it: attributes, then layout and content in pieces.
  static Value Read(ObjectReader& object, uint64_t step = 64 << 10) {
    Value value;
    const Attributes attributes = object.ReadAttributes(WithXattrs::kYes).value();
    value.permissions = attributes.permissions;
    value.modified = attributes.modify_time;
    value.xattrs = attributes.xattrs;
    value.content.resize(attributes.size);
    for (uint64_t at = 0; at < attributes.size;) {
      const Layout layout = object.ReadLayout({at, attributes.size}, 3).value();
      for (const ByteRange& data : layout.data) {
        for (uint64_t from = data.start; from < data.end; from += step) {
          const uint64_t length = std::min(step, data.end - from);
          const auto filled = object.Read(from, {value.content.data() + from, length});
          EXPECT_TRUE(filled);
        }
      }
      at = layout.end;
    }
    return value;
  }

  Value Read(FrozenCut& cut, const ObjectRef& object) {
    const auto reader = cut.Open(object).value();
    EXPECT_NE(reader, nullptr);
    return reader == nullptr ? Value() : Read(*reader);
  }
  Value ReadLive(const ObjectRef& object) {
    auto live = directory_.tree().Open(object).value();
    return Read(*live);
  }

  // Operations as the filesystem layer performs them, on an open file.
  void Pwrite(const ObjectRef& file, int fd, uint64_t offset, const std::string& bytes) {
    const ByteRange range = ByteRange::Of(offset, bytes.size());
    Operation operation = directory_.Begin(Intent().Data(file, range));
    EXPECT_EQ(pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset)),
              static_cast<ssize_t>(bytes.size()));
    operation.Wrote(file, range);
  }
  void Truncate(const ObjectRef& file, int fd, uint64_t size) {
    struct stat before;
    ASSERT_EQ(fstat(fd, &before), 0);
    const ByteRange range =
        ByteRange::From(std::min<uint64_t>(size, static_cast<uint64_t>(before.st_size)));
    Operation operation = directory_.Begin(Intent().Data(file, range));
    EXPECT_EQ(ftruncate(fd, static_cast<off_t>(size)), 0);
    operation.Wrote(file, range);
  }
  void Punch(const ObjectRef& file, int fd, ByteRange range) {
    Operation operation = directory_.Begin(Intent().Data(file, range));
    EXPECT_EQ(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                        static_cast<off_t>(range.start), static_cast<off_t>(range.length())),
              0);
    operation.Wrote(file, range);
  }
  void SetXattr(const ObjectRef& file, int fd, const std::string& value) {
    Operation operation = directory_.Begin(Intent().Attributes(file));
    EXPECT_EQ(fsetxattr(fd, "user.value", value.data(), value.size(), 0), 0);
    operation.ChangedAttributes(file, kXattrAttributes);
  }
  void Chmod(const ObjectRef& file, int fd, mode_t mode) {
    Operation operation = directory_.Begin(Intent().Attributes(file));
    EXPECT_EQ(fchmod(fd, mode), 0);
    operation.ChangedAttributes(file, kStatAttributes);
  }

  UniqueFd OpenFile(const std::string& name) {
    return UniqueFd(open(directory_.Path(name).c_str(), O_RDWR | O_CLOEXEC));
  }

  TrackedDirectory directory_;
};

TEST_F(FrozenCutTest, BytesWrittenSinceDoNotShow) {
  directory_.CreateFile("file");
  directory_.Write("file", 0, "as it was");
  const ObjectRef file = directory_.Find("file");
  const auto cut = Cut();
  const Value then = ReadLive(file);
  directory_.Write("file", 3, "XX");
  directory_.Write("file", 100, "more");
  directory_.Chmod("file", 0600);
  EXPECT_EQ(Read(*cut, file), then);
  EXPECT_TRUE(cut->Finish());
}

TEST_F(FrozenCutTest, WhatIsCutOffSinceIsStillThere) {
  directory_.CreateFile("file");
  directory_.Write("file", 0, std::string(kFileBytes, 'a'));
  const ObjectRef file = directory_.Find("file");
  const auto cut = Cut();
  const Value then = ReadLive(file);
  const UniqueFd fd = OpenFile("file");
  Truncate(file, fd.get(), 10);
  Truncate(file, fd.get(), 2 * kFileBytes);
  EXPECT_EQ(Read(*cut, file), then);
  EXPECT_TRUE(cut->Finish());
}

TEST_F(FrozenCutTest, HolesFilledSinceAreStillHoles) {
  directory_.CreateFile("file");
  const ObjectRef file = directory_.Find("file");
  const UniqueFd fd = OpenFile("file");
  Truncate(file, fd.get(), kFileBytes);
  const auto cut = Cut();
  Pwrite(file, fd.get(), 0, std::string(kFileBytes, 'x'));
  const auto reader = cut->Open(file).value();
  ASSERT_EQ(reader->ReadAttributes(WithXattrs::kNo)->size, kFileBytes);
  EXPECT_TRUE(reader->ReadLayout({0, kFileBytes}, 100)->data.empty());
}

TEST_F(FrozenCutTest, AnObjectUnlinkedSinceCanBeReadAndWasNeverGone) {
  directory_.CreateFile("file");
  directory_.Write("file", 0, "content");
  const ObjectRef file = directory_.Find("file");
  const auto cut = Cut();
  const Value then = ReadLive(file);
  const UniqueFd fd = OpenFile("file");
  directory_.Remove("file");
  Pwrite(file, fd.get(), 0, "overwritten without a name");
  EXPECT_EQ(Read(*cut, file), then);
}

TEST_F(FrozenCutTest, AnObjectThatHadNoNameAtTheCutIsNotInIt) {
  directory_.CreateFile("file");
  const ObjectRef file = directory_.Find("file");
  const UniqueFd fd = OpenFile("file");
  directory_.Remove("file");
  const auto cut = Cut();
  Pwrite(file, fd.get(), 0, "still in use");
  EXPECT_EQ(cut->Open(file).value(), nullptr);
  EXPECT_TRUE(cut->Finish());
}

TEST_F(FrozenCutTest, TheTimesOfADirectoryAreThoseOfTheCut) {
  directory_.MakeDirectory("directory");
  const ObjectRef made = directory_.Find("directory");
  const auto cut = Cut();
  const auto time_now = [&] {
    return directory_.tree().Open(made).value()->ReadAttributes(WithXattrs::kNo)->modify_time;
  };
  const Timestamp then = time_now();
  // Until the clock of the filesystem has ticked.
  for (int i = 0; time_now() == then; ++i) {
    directory_.CreateFile("directory/file" + std::to_string(i));
  }
  EXPECT_EQ(cut->Open(made).value()->ReadAttributes(WithXattrs::kNo)->modify_time, then);
}

TEST_F(FrozenCutTest, NothingIsKeptOfWhatHasBeenRead) {
  directory_.CreateFile("file");
  directory_.Write("file", 0, std::string(kFileBytes, 'a'));
  const ObjectRef file = directory_.Find("file");
  const auto cut = Cut();
  Read(*cut, file);
  const uint64_t before = directory_.spill().memory_used();
  directory_.Write("file", 0, std::string(kFileBytes, 'b'));
  EXPECT_EQ(directory_.spill().memory_used(), before);
}

TEST_F(FrozenCutTest, NothingIsKeptOfWhatTheCutIsNotAbout) {
  directory_.CreateFile("file");
  directory_.Write("file", 0, std::string(kFileBytes, 'a'));
  const Epoch first = Cut()->cut().name.epoch;
  directory_.Write("file", 0, "b");
  const auto cut = Cut(first);
  directory_.Write("file", 100'000, std::string(100'000, 'c'));
  EXPECT_LT(directory_.spill().memory_used(), 10'000u);
}

TEST_F(FrozenCutTest, WhatIsKeptIsFreedWithTheCut) {
  directory_.CreateFile("file");
  directory_.Write("file", 0, std::string(kFileBytes, 'a'));
  auto cut = Cut();
  directory_.Write("file", 0, std::string(kFileBytes, 'b'));
  EXPECT_GE(directory_.spill().memory_used(), kFileBytes);
  cut.reset();
  EXPECT_EQ(directory_.spill().memory_used(), 0u);
}

TEST_F(FrozenCutTest, WhatWasGivenUpKeepsNoDescriptorsOnceItHasBeenRead) {
  const auto open_descriptors = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"),
                         std::filesystem::directory_iterator());
  };
  directory_.CreateFile("file");
  const auto before = open_descriptors();
  const auto cut = Cut();
  directory_.Remove("file");
  EXPECT_GT(open_descriptors(), before);
  cut->GiveUp();
  EXPECT_FALSE(cut->Finish());
  EXPECT_EQ(open_descriptors(), before);
}

// Beyond memory to the file, beyond the file the cut goes: never the operation.
TEST_F(FrozenCutTest, MoreThanMemoryHoldsGoesToTheSpillFile) {
  directory_.Restart({.memory = 64 << 10, .file = 8 << 20});
  directory_.CreateFile("file");
  const UniqueFd fd = OpenFile("file");
  const ObjectRef file = directory_.Find("file");
  Pwrite(file, fd.get(), 0, std::string(2 << 20, 'a'));
  auto cut = Cut();
  const Value then = ReadLive(file);
  Pwrite(file, fd.get(), 0, std::string(2 << 20, 'b'));
  EXPECT_GT(directory_.spill().file_used(), 0u);
  EXPECT_EQ(Read(*cut, file), then);
  EXPECT_TRUE(cut->Finish());
  EXPECT_EQ(directory_.spill().file_used(), 0u);
}

TEST_F(FrozenCutTest, WhenNothingMoreCanBeKeptTheOldestCutIsGivenUp) {
  directory_.Restart({.memory = 64 << 10, .file = 1 << 20});
  directory_.CreateFile("one");
  directory_.Write("one", 0, std::string(kFileBytes, 'a'));
  const auto older = Cut();
  directory_.Write("one", 0, std::string(kFileBytes, 'b'));
  EXPECT_TRUE(older->is_preserving());
  directory_.CreateFile("two");
  const UniqueFd fd = OpenFile("two");
  const ObjectRef two = directory_.Find("two");
  Pwrite(two, fd.get(), 0, std::string(1 << 20, 'a'));
  const auto newer = Cut(older->cut().name.epoch);
  Pwrite(two, fd.get(), 0, std::string(1 << 20, 'b'));
  EXPECT_TRUE(older->given_up());
  EXPECT_TRUE(newer->is_preserving());
  Pwrite(two, fd.get(), 0, "and operations go on");
}

TEST_F(FrozenCutTest, AnOperationIsNotHeldUpByMoreThanAFewMegabytes) {
  directory_.CreateFile("file");
  const UniqueFd fd = OpenFile("file");
  const ObjectRef file = directory_.Find("file");
  for (uint64_t i = 0; i < 20; ++i) Pwrite(file, fd.get(), i << 20, std::string(1 << 20, 'a'));
  const auto cut = Cut();
  const Value then = ReadLive(file);
  Truncate(file, fd.get(), 0);
  // A clone saves it where the filesystem makes clones.
  if (cut->given_up()) return;
  EXPECT_EQ(Read(*cut, file), then);
  EXPECT_TRUE(cut->Finish());
}

// Threads do everything that can be done to files, all the time, except for the instant in which
// the cut is taken and everything is looked at for comparison.
TEST_F(FrozenCutTest, Invariant3EverythingIsAsItWasWhileEverythingChanges) {
  constexpr int kFiles = 6;
  constexpr int kThreads = 3;
  constexpr int kCuts = 60;
  for (int i = 0; i < kFiles; ++i) directory_.CreateFile("file" + std::to_string(i));

  std::mutex pause;
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937_64 random(static_cast<uint64_t>(t) + 1);
      // Each thread has files of its own: the kernel orders operations on one file.
      while (!stop) {
        const std::string name = "file" + std::to_string(t + kThreads * (random() % 2));
        const std::lock_guard lock(pause);
        const UniqueFd fd = OpenFile(name);
        const ObjectRef file = directory_.Find(name);
        for (int n = 0; n < 8; ++n) {
          const uint64_t at = random() % kFileBytes;
          const uint64_t length = 1 + random() % (random() % 4 == 0 ? 100'000 : 5'000);
          switch (random() % 8) {
            case 0:
              Truncate(file, fd.get(), at);
              break;
            case 1:
              Punch(file, fd.get(), ByteRange::Of(at, length));
              break;
            case 2:
              Chmod(file, fd.get(), 0600 + random() % 64);
              break;
            case 3:
              SetXattr(file, fd.get(), std::to_string(random()));
              break;
            default:
              Pwrite(file, fd.get(), at, std::string(length, static_cast<char>(random())));
          }
        }
        if (random() % 20 == 0) {  // replaced by a new one
          directory_.CreateFile(name + ".new");
          directory_.Write(name + ".new", 0, std::to_string(random()));
          directory_.Remove(name);
          directory_.Rename(name + ".new", name);
        }
      }
    });
  }
  Epoch after;
  int whole = 0;
  for (int i = 0; i < kCuts && !HasFailure(); ++i) {
    std::map<std::string, std::pair<ObjectRef, Value>> then;
    std::shared_ptr<FrozenCut> cut;
    {
      const std::lock_guard lock(pause);
      cut = Cut(after);
      for (int f = 0; f < kFiles; ++f) {
        const std::string name = "file" + std::to_string(f);
        const ObjectRef file = directory_.Find(name);
        then[name] = {file, ReadLive(file)};
      }
    }
    for (const auto& [name, expected] : then) {
      const ObjectChange* change = cut->changes().Find(expected.first.id);
      if (change == nullptr) continue;
      const auto reader = cut->Open(expected.first).value();
      ASSERT_NE(reader, nullptr) << name;
      const bool with_xattrs = change->whole || (change->attributes & kXattrAttributes) != 0;
      const Attributes attributes = reader->ReadAttributes(WithXattrs::kYes).value();
      const Value& value = expected.second;
      EXPECT_EQ(attributes.size, value.content.size()) << name;
      EXPECT_EQ(attributes.permissions, value.permissions) << name;
      EXPECT_EQ(attributes.modify_time, value.modified) << name;
      if (with_xattrs) {
        EXPECT_EQ(attributes.xattrs, value.xattrs) << name;
      }
      for (const ByteRange& range : change->data.Within({0, attributes.size})) {
        std::string bytes(range.length(), '\0');
        for (uint64_t at = range.start; at < range.end;) {
          const Layout layout = reader->ReadLayout({at, range.end}, 5).value();
          for (const ByteRange& data : layout.data) {
            ASSERT_TRUE(reader->Read(data.start,
                                     {bytes.data() + (data.start - range.start), data.length()}));
          }
          at = layout.end;
        }
        EXPECT_TRUE(bytes == value.content.substr(range.start, range.length()))
            << name << " from " << range.start << " to " << range.end;
      }
    }
    whole += cut->Finish() ? 1 : 0;
    after = cut->cut().name.epoch;
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(whole, kCuts);
}

}  // namespace
}  // namespace tandem::meta
