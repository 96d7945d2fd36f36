#include "replica/store/apply_queue.h"

#include <gtest/gtest.h>

#include <atomic>

#include "replica/store/redo_pause.h"
#include "tests/unit/volume_parts.h"
#include "tests/unit/waiting_thread.h"

namespace tandem::replica {
namespace {

class Queue : public VolumeParts {
 protected:
  Queue() {
    queue_.Restore({.applied = {Cut(1)}, .durable = {Cut(1)}, .pending = {}, .unsynced = {}});
    queue_.NoteTreeIsWhole();
    session_id_ = OpenSession();
  }
  SessionId OpenSession() {
    return queue_.OpenSession({1, 1, "vol", VolumeId(1, 1), "test"}, nullptr).session;
  }
  // Numbers follow one another.
  std::shared_ptr<Stage> Promise(uint64_t number) {
    auto stage = StageTo(Cut(number), Cut(number - 1));
    queue_.Promise(stage, {Cut(number)});
    return stage;
  }
  bool Redone(const Result<AppliedCut>& done) {
    return queue_.EndRedo(queue_.pending(), done, Notices());
  }
  static Result<AppliedCut> NoRoom() { return ErrnoError(ENOSPC, "write"); }
  // Does not wait.
  Reply Ask(uint64_t cut) { return queue_.WaitApplied({Cut(cut), 0}, session_id_); }
  static Position In(const Reply& reply) { return std::get<Position>(reply.body); }

  SessionId session_id_;
};

TEST_F(Queue, ACutGoesFromDurableToAppliedToKept) {
  const auto stage = Promise(2);
  EXPECT_EQ(In(Ask(2)).durable, Cut(2));
  EXPECT_EQ(In(Ask(2)).applied, Cut(1));
  const ApplyQueue::Work work = queue_.WorkNow();
  EXPECT_EQ(work.stages, ApplyQueue::Stages{stage});
  EXPECT_EQ(work.base.name, Cut(1));
  EXPECT_TRUE(work.tree_is_whole);
  EXPECT_TRUE(Redone(AppliedCut{Cut(2)}));
  EXPECT_EQ(In(Ask(2)).applied, Cut(2));
  EXPECT_TRUE(queue_.pending().empty());
  EXPECT_EQ(queue_.unsynced(), ApplyQueue::Stages{stage});
  queue_.ForgetUnsynced(1);
  EXPECT_TRUE(queue_.unsynced().empty());
}

TEST_F(Queue, AFailedRedoBlocksUntilOneSucceeds) {
  Promise(2);
  queue_.NoteRedoBegun();
  EXPECT_FALSE(Redone(NoRoom()));
  EXPECT_EQ(Ask(2).code, ReplyCode::kNoSpace);
  EXPECT_EQ(In(Ask(2)).durable, Cut(2)) << "a refusal says where the volume stands, too";
  EXPECT_EQ(queue_.Busy().code, ReplyCode::kNoSpace);
  EXPECT_TRUE(queue_.IsBlockedForRoom());
  EXPECT_TRUE(queue_.WorkNow().cramped);
  EXPECT_FALSE(queue_.WorkNow().tree_is_whole);
  EXPECT_TRUE(Redone(AppliedCut{Cut(2)}));
  EXPECT_EQ(Ask(2).code, ReplyCode::kOk);
  EXPECT_FALSE(queue_.IsBlockedForRoom());
}

TEST_F(Queue, AFailedSyncBlocksUntilASyncSucceeds) {
  Promise(2);
  queue_.NoteSyncFailed(Error(ErrorKind::kSystem, EIO, "sync"));
  EXPECT_TRUE(Redone(AppliedCut{Cut(2)}));
  EXPECT_EQ(Ask(2).code, ReplyCode::kIoError);
  queue_.NoteSynced();
  EXPECT_EQ(Ask(2).code, ReplyCode::kOk);
}

TEST_F(Queue, CutsThatTheCatalogHasLostGoBeforeThoseThatAreToBeRedone) {
  const auto second = Promise(2);
  ASSERT_TRUE(Redone(AppliedCut{Cut(2)}));
  const auto third = Promise(3);
  ASSERT_TRUE(Redone(AppliedCut{Cut(3)}));
  const auto fourth = Promise(4);
  queue_.ReturnTo({Cut(2)});
  EXPECT_EQ(queue_.unsynced(), ApplyQueue::Stages{second});
  const ApplyQueue::Work work = queue_.WorkNow();
  EXPECT_EQ(work.stages, (ApplyQueue::Stages{third, fourth}));
  EXPECT_EQ(work.base.name, Cut(2));
  EXPECT_FALSE(work.tree_is_whole) << "it is at a later cut";
}

TEST_F(Queue, ARedoThatHasLostFilesEndsTheSession) {
  Promise(2);
  const AppliedCut nowhere = AppliedCut::Nowhere();
  EXPECT_TRUE(Redone(nowhere));
  EXPECT_EQ(Ask(2).code, ReplyCode::kUnknownSession);
  session_id_ = OpenSession();
  EXPECT_EQ(In(Ask(2)).durable, nowhere.name);
  EXPECT_EQ(In(Ask(2)).notice, "files were missing when a cut was applied");
  queue_.Promise(StageTo(Cut(9), nowhere.name), {Cut(9)});
  EXPECT_TRUE(Redone(AppliedCut{Cut(9)}));
  EXPECT_EQ(In(Ask(9)).notice, "");
}

TEST_F(Queue, ASetOfNoMomentEndsNoSession) {
  const CutName thin = SetOfNoMoment(1);
  queue_.Promise(StageTo(thin, Cut(1)), {thin});
  EXPECT_TRUE(queue_.WorkNow().cramped) << "it is to make room";
  EXPECT_TRUE(Redone(AppliedCut{thin}));
  EXPECT_EQ(In(Ask(2)).applied, thin);
}

TEST_F(Queue, ANewSessionWakesARequestOfTheOneBefore) {
  Promise(2);
  const test::WaitingThread old([this] {
    EXPECT_EQ(queue_.WaitApplied({Cut(2), 60'000}, session_id_).code, ReplyCode::kUnknownSession);
  });
  old.ExpectAsleep();
  OpenSession();
}

TEST_F(Queue, APauseHoldsOffRedoes) {
  std::atomic<bool> begun = false;
  std::unique_ptr<test::WaitingThread> redo;
  {
    const RedoPause pause(queue_);
    ASSERT_FALSE(pause.refusal());
    Promise(2);
    redo = std::make_unique<test::WaitingThread>([&] {
      EXPECT_TRUE(queue_.WaitForPending());
      begun = true;
    });
    redo->ExpectAsleep();
    EXPECT_FALSE(begun);
  }
  redo.reset();
  EXPECT_TRUE(begun);
  queue_.Stop();
  const RedoPause late(queue_);
  ASSERT_TRUE(late.refusal()) << "a redo is due, and goes first";
  EXPECT_EQ(late.refusal()->code, ReplyCode::kBusy);
}

}  // namespace
}  // namespace tandem::replica
