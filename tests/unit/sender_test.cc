// The thread that brings a replica from cut to cut: one that has no room, and questions that
// come meanwhile.
// Source, sender, network and store are real; there is no mount.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

#include "replica/source/replication.h"
#include "replica/source/tuning.h"
#include "replica/transport/transport.h"
#include "tests/process.h"
#include "tests/unit/failing_calls.h"
#include "tests/unit/replica_client.h"
#include "tests/unit/tracked_directory.h"

namespace tandem::replica {
namespace {

// The commit of the request, alone or with all else of a change set; null: it commits nothing.
const Commit* CommitIn(const RequestBody& body) {
  const auto* increment = std::get_if<Increment>(&body);
  return increment != nullptr ? &increment->commit : std::get_if<Commit>(&body);
}

// Whether the answer says that a cut is applied, if need be after a while.
bool Waits(const RequestBody& body) {
  const auto* wait = std::get_if<WaitApplied>(&body);
  return std::holds_alternative<Increment>(body) || (wait != nullptr && wait->timeout_ms != 0);
}

class SenderTest : public testing::Test {
 protected:
  SenderTest() {
    server_ = ReplySocket::Listen({"tcp://127.0.0.1:0"}, 16, kMaxMessageBytes + 4096,
                                  [this](std::string_view bytes, const ConnectionRef& connection) {
                                    return Answer(bytes, connection);
                                  })
                  .value();
    Replication::Options options;
    options.volume_name = "vol";
    options.volume = VolumeId(1, 1);
    options.source = "test";
    meta::ReplicaRecord record;
    record.name = "r";
    record.url = server_->urls()[0];
    options.replicas.push_back(record);
    replication_ =
        Replication::Start(std::move(options), source_.tracker(), source_.tree(), source_.writer());
  }
  ~SenderTest() override {
    test::RefuseMarkers(0);
    replication_.reset();
    store_->Stop();
    server_.reset();
  }

  // Cuts find no room, if that is wished; sets of no moment do.
  std::string Answer(std::string_view bytes, const ConnectionRef& connection) {
    const auto request = DecodeRequest(bytes);
    const Commit* commit = request ? CommitIn(request->body) : nullptr;
    if (commit != nullptr && commit->cut.epoch != Epoch() && refuses_) {
      return EncodeReply({ReplyCode::kNoSpace, "no room, says the test", {}, {}});
    }
    std::string answer = store_->Answer(bytes, connection);
    if (const auto* find = request ? std::get_if<FindContent>(&request->body) : nullptr) {
      ++questions_;
      // Whatever is asked for, it is there.
      FoundContent lie{{}, std::string(find->ranges.size() * kCopyDigestBytes, 'x')};
      if (!find->chunks.empty()) {
        lie.runs = {
            {0, static_cast<uint32_t>(find->chunks.size()), source_.Find("file").id, lie_offset_}};
      }
      if (lies_) return EncodeReply({ReplyCode::kOk, "", {}, lie});
    }
    if (request && Waits(request->body) && hesitates_) {
      is_hesitating_ = true;
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    if (commit != nullptr && DecodeReply(answer).value().code == ReplyCode::kOk) ++commits_;
    return answer;
  }

  ReplicaStatus StatusNow() { return replication_->Statuses()[0]; }
  testing::AssertionResult Syncs(CondVar::Clock::duration patience = test::kPatience) {
    const auto synced = replication_->WaitUntilApplied("r", source_.tracker().NewestChange(),
                                                       CondVar::Clock::now() + patience);
    if (synced) return testing::AssertionSuccess();
    return testing::AssertionFailure() << synced.error().ToString();
  }
  std::string InTree(const std::string& name) const {
    return scratch_.path() + "/vol/tree/" + name;
  }
  std::string Content(const std::string& name) const {
    std::ifstream file(InTree(name));
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void Make(const std::string& name, const std::string& content) {
    source_.CreateFile(name);
    source_.Write(name, 0, content);
  }

  meta::TrackedDirectory source_;
  ScratchDirectory scratch_;
  std::unique_ptr<Store> store_ = Store::Open(scratch_.path()).value();
  std::atomic<bool> refuses_ = false;
  std::atomic<bool> lies_ = false;  // about the content it has: it is all in "file", from here on
  std::atomic<uint64_t> lie_offset_ = 1;
  std::atomic<int> questions_ = 0;       // about that
  std::atomic<bool> hesitates_ = false;  // before the replica says that it has a cut
  std::atomic<bool> is_hesitating_ = false;
  std::atomic<int> commits_ = 0;  // that were taken
  std::unique_ptr<ReplySocket> server_;
  std::unique_ptr<Replication> replication_;
};

// A question is answered by what the replica says afterwards. The question comes when the replica
// has answered for the cut, and the sender has not heard it.
TEST_F(SenderTest, AnswersAtOnceWhoAsksWhileACutIsUnderWay) {
  Make("file", "content");
  ASSERT_TRUE(Syncs());
  hesitates_ = true;
  source_.Write("file", 0, "CONTENT");
  ASSERT_TRUE(test::WaitFor([this] { return is_hesitating_.load(); }));
  // Sooner than an idle sender looks around.
  EXPECT_TRUE(Syncs(kHeartbeat / 3));
}

TEST_F(SenderTest, SendsWhatHasChangedSinceOnTopOfACutThatIsBlocked) {
  Make("a", "old");
  ASSERT_TRUE(Syncs());
  for (const int error : {ENOSPC, EDQUOT}) {
    const CutName before = StatusNow().applied;
    test::RefuseMarkers(error);
    source_.Write("a", 0, "new");
    ASSERT_TRUE(test::WaitFor([this] { return StatusNow().state == ReplicaState::kBlocked; }));
    const int blocked = commits_;
    source_.Write("a", 0, "NEW");
    Make("b" + std::to_string(error), "content");
    EXPECT_TRUE(test::WaitFor([&] { return commits_ > blocked; }));
    EXPECT_EQ(StatusNow().applied, before);
    EXPECT_FALSE(Syncs(std::chrono::seconds(0)));
    test::RefuseMarkers(0);
    EXPECT_TRUE(Syncs());
    EXPECT_EQ(Content("a"), "NEW");
    EXPECT_EQ(Content("b" + std::to_string(error)), "content");
  }
}

TEST_F(SenderTest, SendsWhatIsRemovedAheadOfACutThatDoesNotFit) {
  Make("removed", "content");
  Make("replaced", "old");
  Make("moved", "content");
  ASSERT_TRUE(Syncs());
  refuses_ = true;
  // In one cut: a replica does not take a set of no moment that frees nothing, as the second name
  // of "moved" alone.
  ASSERT_TRUE(replication_->SetPaused("r", true));
  source_.Remove("removed");
  source_.Rename("moved", "to");
  Make("new", "content");
  source_.Rename("new", "replaced");
  ASSERT_TRUE(replication_->SetPaused("r", false));
  // It is being applied: names follow one another.
  ASSERT_TRUE(test::WaitFor([this] {
    return !std::filesystem::exists(InTree("removed")) && std::filesystem::exists(InTree("to"));
  }));
  EXPECT_FALSE(std::filesystem::exists(InTree("moved")));
  EXPECT_EQ(Content("to"), "content");
  EXPECT_EQ(Content("replaced"), "old") << "all there is of it until the new one fits";
  ASSERT_TRUE(test::WaitFor([this] { return StatusNow().applied.epoch == Epoch(); }));
  EXPECT_FALSE(Syncs(std::chrono::milliseconds(300)));
  EXPECT_NE(StatusNow().state, ReplicaState::kCurrent);
  EXPECT_LT(StatusNow().lag_seconds, 60) << "as far behind as before";
  const uint64_t received = StatusNow().received_bytes;
  refuses_ = false;
  EXPECT_TRUE(Syncs());
  EXPECT_LT(StatusNow().received_bytes - received, 100'000u) << "nothing was compared";
  EXPECT_EQ(Content("replaced"), "content");
  EXPECT_EQ(Content("to"), "content");
  EXPECT_FALSE(std::filesystem::exists(InTree("removed")));
}

// A replica that claims to have content it has not refuses the copy, and gets the bytes.
TEST_F(SenderTest, ContentThatIsNotThereIsSent) {
  std::string bytes(300'000, '\0');
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>((i * i) >> 5);
  Make("file", bytes);
  ASSERT_TRUE(Syncs());
  lies_ = true;
  std::ranges::reverse(bytes);
  Make("other", bytes);
  ASSERT_TRUE(Syncs());
  EXPECT_GT(questions_, 0);
  EXPECT_EQ(Content("other"), bytes);
}

TEST_F(SenderTest, APlaceBeyondAllFilesEndsNothingButTheSession) {
  Make("file", "content");
  ASSERT_TRUE(Syncs());
  lie_offset_ = ByteRange::kEndOfFile;
  lies_ = true;
  Make("other", std::string(300'000, 'x') + "end");
  ASSERT_TRUE(test::WaitFor([&] { return StatusNow().state == ReplicaState::kBlocked; }));
  EXPECT_NE(StatusNow().error.find("beyond the end"), std::string::npos) << StatusNow().error;
  lies_ = false;
  EXPECT_TRUE(Syncs());
}

// A question takes a round trip, and none of thousands of new files may be known.
TEST_F(SenderTest, SmallContentIsAskedAboutLessAndLessWhileNoneIsKnown) {
  Make("file", "content");
  ASSERT_TRUE(Syncs());
  for (uint32_t i = 0; i < 200; ++i) {
    std::string bytes(70'000, '\0');
    uint32_t state = i;
    for (char& byte : bytes) {
      state = state * 1'664'525 + 1'013'904'223;
      byte = static_cast<char>(state >> 24);
    }
    Make("new" + std::to_string(i), bytes);
  }
  ASSERT_TRUE(Syncs());
  EXPECT_GT(questions_, 0);
  EXPECT_LT(questions_, 20);
}

}  // namespace
}  // namespace tandem::replica
