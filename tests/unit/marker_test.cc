// Whoever reads the marker while it changes sees one that was written, whole.
#include "replica/marker.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

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

  // As anybody would read it, who may be held up between the two steps.
  std::string ReadSlowly() const {
    const UniqueFd fd(openat(fd_.get(), "applied", O_RDONLY | O_CLOEXEC));
    if (!fd.valid()) return "";
    std::this_thread::yield();
    char text[4096];
    const ssize_t got = read(fd.get(), text, sizeof text);
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

TEST_F(MarkerFile, IsNeverChangedUnderWhoReadsIt) {
  ASSERT_TRUE(WriteMarker(fd_.get(), MarkerOf(1)));
  const UniqueFd held(openat(fd_.get(), "applied", O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(held.valid());
  const auto content = [&] {
    char text[4096];
    const ssize_t got = pread(held.get(), text, sizeof text, 0);
    return std::string(text, got > 0 ? static_cast<size_t>(got) : 0);
  };
  const std::string before = content();
  for (uint64_t epoch = 2; epoch < 10; ++epoch) {
    ASSERT_TRUE(WriteMarker(fd_.get(), MarkerOf(epoch)));
    EXPECT_EQ(content(), before);
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
    const auto json = nlohmann::json::parse(ReadSlowly(), nullptr, false);
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
