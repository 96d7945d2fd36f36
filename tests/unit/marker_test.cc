// Whoever reads the marker while it changes sees one that was written, whole.
#include "replica/apply/marker.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "meta/base/unique_fd.h"
#include "tests/scratch.h"

namespace tandem::replica {
namespace {

CutId IdOf(uint64_t epoch) { return {epoch, epoch}; }

Marker MarkerOf(uint64_t epoch) {
  // Of another length now and then.
  const auto state = epoch % 3 == 0 ? TreeState::kApplying : TreeState::kApplied;
  return {{VolumeId::Random(), "volume"},
          state,
          {{Epoch(epoch), IdOf(epoch)}, static_cast<int64_t>(epoch)}};
}

class MarkerFile : public testing::Test {
 protected:
  MarkerFile() : fd_(open(scratch_.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {}

  UniqueFd OpenMarker() const {
    return UniqueFd(openat(fd_.get(), "applied", O_RDONLY | O_CLOEXEC));
  }
  static std::string TextIn(const UniqueFd& file) {
    char text[4096];
    const ssize_t got = pread(file.get(), text, sizeof text, 0);
    return {text, got > 0 ? static_cast<size_t>(got) : 0};
  }

  test::Scratch scratch_;
  UniqueFd fd_;
};

TEST_F(MarkerFile, IsWhatWasWrittenLast) {
  for (uint64_t epoch : {1, 2, 3, 1'000'000'000, 4}) {
    ASSERT_TRUE(WriteMarker(fd_.get(), MarkerOf(epoch)));
    const auto marker = ReadMarker(fd_.get());
    ASSERT_TRUE(marker);
    EXPECT_EQ(marker->cut.name.epoch, Epoch(epoch));
    EXPECT_EQ(marker->state, MarkerOf(epoch).state);
  }
}

TEST_F(MarkerFile, OfACutThatCannotBeMakesNoSense) {
  ASSERT_TRUE(WriteMarker(fd_.get(), MarkerOf(kNewestEpoch.number())));
  EXPECT_TRUE(ReadMarker(fd_.get()));
  ASSERT_TRUE(WriteMarker(fd_.get(), MarkerOf(kNewestEpoch.number() + 1)));
  EXPECT_FALSE(ReadMarker(fd_.get()));
}

TEST_F(MarkerFile, IsNeverChangedUnderWhoReadsIt) {
  ASSERT_TRUE(WriteMarker(fd_.get(), MarkerOf(1)));
  const UniqueFd held = OpenMarker();
  const std::string before = TextIn(held);
  ASSERT_NE(before, "");
  for (uint64_t epoch = 2; epoch < 10; ++epoch) {
    ASSERT_TRUE(WriteMarker(fd_.get(), MarkerOf(epoch)));
    EXPECT_EQ(TextIn(held), before);
  }
  EXPECT_EQ(ReadMarker(fd_.get())->cut.name.epoch, Epoch(9));
}

TEST_F(MarkerFile, IsReadWholeWhileItChanges) {
  ASSERT_TRUE(WriteMarker(fd_.get(), MarkerOf(1)));
  std::atomic<bool> done = false;
  std::thread writer([&] {
    for (uint64_t epoch = 2; epoch < 20'000; ++epoch) {
      if (!WriteMarker(fd_.get(), MarkerOf(epoch))) break;
    }
    done = true;
  });
  uint64_t newest = 0;
  while (!done) {
    const UniqueFd file = OpenMarker();
    std::this_thread::yield();  // readers may be held up here
    const auto json = nlohmann::json::parse(TextIn(file), nullptr, false);
    if (!json.is_object()) {
      ADD_FAILURE() << "not whole";
      break;
    }
    const uint64_t epoch = json["epoch"];
    EXPECT_EQ(json["cut"], IdOf(epoch).ToHex());
    EXPECT_EQ(json["wall_time_ns"], epoch);
    EXPECT_GE(epoch, newest);
    newest = epoch;
  }
  writer.join();
  EXPECT_EQ(ReadMarker(fd_.get())->cut.name.epoch, Epoch(19'999));
}

}  // namespace
}  // namespace tandem::replica
