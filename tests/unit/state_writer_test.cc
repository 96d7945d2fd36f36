// Group commit: all or nothing, and everybody is told which.
#include "meta/state_writer.h"

#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <stdexcept>
#include <thread>

#include "tests/scratch.h"

namespace tandem::meta {
namespace {

using std::chrono::milliseconds;

class StateWriterTest : public testing::Test {
 protected:
  StateWriterTest()
      : writer_(std::make_unique<StateWriter>(
            std::move(StateDatabase::Open(scratch_.path()).value()))) {}

  std::optional<std::string> Stored(const std::string& key) {
    return StateDatabase::Open(scratch_.path()).value().Get(key).value();
  }
  static StateWriter::Job Put(const std::string& key) {
    return [key](StateDatabase& database) { return database.Put(key, "yes"); };
  }
  // Holds the writer inside a job until released, so that what is posted meanwhile shares the next
  // group.
  void HoldWriter(std::atomic<bool>& released) {
    std::atomic<bool> running{false};
    writer_->Post(
        [&](StateDatabase&) -> Status {
          running = true;
          while (!released) std::this_thread::sleep_for(milliseconds(1));
          return {};
        },
        [](const Status&) {});
    while (!running) std::this_thread::sleep_for(milliseconds(1));
  }

  test::Scratch scratch_;
  std::unique_ptr<StateWriter> writer_;
};

TEST_F(StateWriterTest, WhatIsDoneIsCommitted) {
  ASSERT_TRUE(writer_->Do(Put("a")));
  EXPECT_EQ(Stored("a"), "yes");
}

TEST_F(StateWriterTest, JobsThatWaitTogetherAreCommittedTogether) {
  std::atomic<bool> released{false};
  HoldWriter(released);
  std::atomic<int> done{0};
  for (const char* key : {"a", "b", "c"}) {
    writer_->Post(Put(key), [&done](const Status& status) { done += status ? 1 : 0; });
  }
  released = true;
  ASSERT_TRUE(writer_->Do(Put("d")));
  EXPECT_EQ(done, 3);
  for (const char* key : {"a", "b", "c", "d"}) EXPECT_EQ(Stored(key), "yes");
}

TEST_F(StateWriterTest, OneFailureRollsBackTheGroupAndEverybodyIsTold) {
  std::atomic<bool> released{false};
  HoldWriter(released);
  std::atomic<int> failed{0};
  const auto count = [&failed](const Status& status) { failed += status ? 0 : 1; };
  writer_->Post(Put("before"), count);
  writer_->Post([](StateDatabase&) -> Status { return ErrnoError(ENOSPC, "no room"); }, count);
  writer_->Post(Put("behind"), count);
  released = true;
  while (failed < 3) std::this_thread::sleep_for(milliseconds(1));
  EXPECT_EQ(Stored("before"), std::nullopt);
  EXPECT_EQ(Stored("behind"), std::nullopt);
  // And the writer goes on.
  ASSERT_TRUE(writer_->Do(Put("after")));
  EXPECT_EQ(Stored("after"), "yes");
}

TEST_F(StateWriterTest, TheErrorOfAJobReachesWhoAskedForIt) {
  const Status status =
      writer_->Do([](StateDatabase&) -> Status { return ErrnoError(ENOSPC, "no room"); });
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code(), ENOSPC);
}

TEST_F(StateWriterTest, AJobThatThrowsFailsAlone) {
  EXPECT_FALSE(writer_->Do([](StateDatabase& database) -> Status {
    RETURN_IF_ERROR(database.Put("half", "done"));
    throw std::bad_alloc();
  }));
  EXPECT_EQ(Stored("half"), std::nullopt);
  EXPECT_TRUE(writer_->Do(Put("next")));
}

TEST_F(StateWriterTest, WhatIsQueuedIsWrittenBeforeTheEnd) {
  std::atomic<int> done{0};
  for (int i = 0; i < 50; ++i) {
    writer_->Post(Put("key" + std::to_string(i)), [&done](const Status& s) { done += s ? 1 : 0; });
  }
  writer_.reset();
  EXPECT_EQ(done, 50);
  EXPECT_EQ(Stored("key49"), "yes");
}

TEST_F(StateWriterTest, ManyThreadsGetWhatTheyAskedFor) {
  std::vector<std::thread> threads;
  std::atomic<int> committed{0};
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([this, t, &committed] {
      for (int i = 0; i < 50; ++i) {
        const std::string key = std::to_string(t) + "." + std::to_string(i);
        committed += writer_->Do(Put(key)) ? 1 : 0;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(committed, 400);
  for (int t = 0; t < 8; ++t) EXPECT_EQ(Stored(std::to_string(t) + ".49"), "yes");
}

TEST_F(StateWriterTest, CheckpointsGoOnWhileItWrites) {
  auto checkpointer = Checkpointer::Start(scratch_.path());
  ASSERT_TRUE(checkpointer) << checkpointer.error().ToString();
  for (int i = 0; i < 200; ++i) ASSERT_TRUE(writer_->Do(Put(std::to_string(i))));
  checkpointer->reset();
  EXPECT_EQ(Stored("199"), "yes");
}

// A busy volume takes a hundred cuts a second for days. The log must not grow all that time.
TEST_F(StateWriterTest, TheLogStaysSmallUnderALoadThatNeverPauses) {
  auto checkpointer = Checkpointer::Start(scratch_.path());
  ASSERT_TRUE(checkpointer) << checkpointer.error().ToString();
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(9);
  uint64_t written = 0;
  uint64_t largest = 0;
  const std::string wal = scratch_.Path("state.db-wal");
  for (uint64_t i = 0; std::chrono::steady_clock::now() < end; ++i) {
    ASSERT_TRUE(writer_->Do([&](StateDatabase& database) {
      written += 3 * 4096;
      return database.InsertHot({ObjectId(3, i * 0x9e3779b97f4a7c15), FileHandle("handle")},
                                HotRegion::Attributes());
    }));
    largest = std::max<uint64_t>(largest, std::filesystem::file_size(wal));
  }
  // What is written in two periods of the checkpointer, generously.
  EXPECT_LT(largest, written * 2 / 3) << "of about " << written << " bytes written";
}

}  // namespace
}  // namespace tandem::meta
