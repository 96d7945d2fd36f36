// Group commit: all or nothing, and everybody is told which.
#include "meta/state/state_writer.h"

#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <stdexcept>
#include <thread>

#include "meta/state/checkpointer.h"
#include "tests/scratch.h"
#include "tests/unit/waiting_thread.h"

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
  // A job that holds whoever runs it until it is released, and then fails or not: what is given to
  // the writer meanwhile waits, and shares the next group.
  StateWriter::Job Held(bool fails = false) {
    return [this, fails](StateDatabase& database) -> Status {
      held_ = true;
      held_.notify_all();
      released_.wait(false);
      RETURN_IF_ERROR(database.Put("held", "yes"));
      if (fails) return ErrnoError(ENOSPC, "no room");
      return {};
    };
  }
  // Gives a job to the writer on a thread of its own; returns once the writer has it.
  void DoBeside(StateWriter::Job job, bool runs_at_once = false) {
    beside_.push_back(std::make_unique<test::WaitingThread>([this, job = std::move(job)] {
      if (writer_->Do(job)) {
        ++committed_;
      } else {
        ++failed_;
      }
    }));
    if (runs_at_once) {
      held_.wait(false);
    } else {
      beside_.back()->ExpectAsleep();
    }
  }
  void Release() {
    released_ = true;
    released_.notify_all();
    beside_.clear();
  }

  std::atomic<bool> held_{false};
  std::atomic<bool> released_{false};
  std::atomic<int> committed_{0};
  std::atomic<int> failed_{0};
  test::Scratch scratch_;
  std::unique_ptr<StateWriter> writer_;
  std::vector<std::unique_ptr<test::WaitingThread>> beside_;
};

TEST_F(StateWriterTest, WhatIsDoneIsCommitted) {
  ASSERT_TRUE(writer_->Do(Put("a")));
  EXPECT_EQ(Stored("a"), "yes");
}

TEST_F(StateWriterTest, JobsThatWaitTogetherAreAllCommitted) {
  DoBeside(Held(), /*runs_at_once=*/true);
  for (const char* key : {"a", "b", "c"}) DoBeside(Put(key));
  Release();
  EXPECT_EQ(committed_, 4);
  for (const char* key : {"held", "a", "b", "c"}) EXPECT_EQ(Stored(key), "yes");
}

TEST_F(StateWriterTest, OneFailureRollsBackTheGroupAndEverybodyIsTold) {
  DoBeside(Held(), /*runs_at_once=*/true);
  DoBeside(Put("before"));
  DoBeside([](StateDatabase&) -> Status { return ErrnoError(ENOSPC, "no room"); });
  DoBeside(Put("behind"));
  Release();
  EXPECT_EQ(committed_, 1);
  EXPECT_EQ(failed_, 3);
  EXPECT_EQ(Stored("before"), std::nullopt);
  EXPECT_EQ(Stored("behind"), std::nullopt);
  // And the writer goes on.
  ASSERT_TRUE(writer_->Do(Put("after")));
  EXPECT_EQ(Stored("after"), "yes");
}

TEST_F(StateWriterTest, WhatComesWhileAGroupIsWrittenDoesNotShareItsFate) {
  DoBeside(Held(/*fails=*/true), /*runs_at_once=*/true);
  DoBeside(Put("a"));
  Release();
  EXPECT_EQ(failed_, 1);
  EXPECT_EQ(committed_, 1);
  EXPECT_EQ(Stored("held"), std::nullopt);
  EXPECT_EQ(Stored("a"), "yes");
}

TEST_F(StateWriterTest, JobsAreRunInTheOrderInWhichTheyCame) {
  DoBeside(Held(), /*runs_at_once=*/true);
  for (const char* value : {"1", "2", "3"}) {
    DoBeside([value](StateDatabase& database) { return database.Put("key", value); });
  }
  Release();
  EXPECT_EQ(Stored("key"), "3");
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

// A checkpoint on a slow disk holds the writer's lock for longer than SQLite waits.
TEST_F(StateWriterTest, WhoeverFindsTheDatabaseBusyWaitsForAsLongAsItIs) {
  constexpr std::chrono::seconds kLongerThanSqliteWaits{11};
  Database other =
      std::move(Database::Open(scratch_.path() + "/state.db", Database::Sync::kNormal).value());
  std::optional<Transaction> checkpoint = std::move(Transaction::Begin(other).value());
  DoBeside(Put("marked"));
  std::this_thread::sleep_for(kLongerThanSqliteWaits);
  EXPECT_EQ(committed_ + failed_, 0);
  checkpoint.reset();
  EXPECT_TRUE(test::WaitFor([this] { return committed_ == 1; }));
  EXPECT_EQ(failed_, 0);
  EXPECT_EQ(Stored("marked"), "yes");
}

}  // namespace
}  // namespace tandem::meta
