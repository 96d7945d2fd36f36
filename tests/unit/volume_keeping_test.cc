// What a volume has applied, and what its disk, or its catalog, has lost of it.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <thread>

#include "meta/base/database.h"
#include "replica/store/kept_catalog.h"
#include "tests/process.h"
#include "tests/unit/failing_calls.h"
#include "tests/unit/protocol_fixture.h"
#include "tests/unit/volume_parts.h"

namespace tandem::replica {
namespace {

// No file of this process grows beyond it. Threads of other tests have ended.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() { setrlimit(RLIMIT_FSIZE, &before_); }

 private:
  rlimit before_{};
};

TEST_F(Protocol, DamagedDatabaseIsSetAsideAndSaid) {
  ASSERT_EQ(client_.Ship(NewFile(kFile, "f", "content")).code, ReplyCode::kOk);
  store_.reset();
  for (const char* part : {"-wal", "-shm"}) {
    std::filesystem::remove(scratch_.path() + "/vol/replica.db" + part);
  }
  std::ofstream(scratch_.path() + "/vol/replica.db") << "this is no database";
  for (const auto& file : std::filesystem::directory_iterator(scratch_.path() + "/vol/stage")) {
    if (file.is_regular_file()) std::filesystem::remove(file.path());
  }
  store_ = Store::Open(scratch_.path()).value();
  client_.Use(*store_);
  const Reply reply = client_.Greet();
  ASSERT_EQ(reply.code, ReplyCode::kOk) << reply.message;
  const auto position = std::get<Position>(reply.body);
  EXPECT_EQ(position.applied, CutName());
  EXPECT_TRUE(position.empty);
  EXPECT_NE(position.notice.find("replica.db"), std::string::npos);
  // The next first cut replaces what stands in the tree.
  ASSERT_EQ(client_.Ship(NewFile(ObjectId(6, 6), "g", "again")).code, ReplyCode::kOk);
  EXPECT_EQ(Content("g"), "again");
  EXPECT_FALSE(std::filesystem::exists(scratch_.path() + "/vol/tree/f"));
}

TEST_F(Protocol, ADatabaseAtACutThatCannotBeIsSetAside) {
  for (const uint64_t number : {UINT64_MAX, kNewestEpoch.number() + 1}) {
    ASSERT_EQ(client_.Ship(NewFile(kFile, "f", "content")).code, ReplyCode::kOk);
    store_.reset();
    {
      Database database =
          Database::Open(scratch_.path() + "/vol/replica.db", Database::Sync::kFull).value();
      ASSERT_TRUE(database.Execute("UPDATE applied SET epoch=" +
                                   std::to_string(static_cast<int64_t>(number))));
    }
    store_ = Store::Open(scratch_.path()).value();
    client_.Use(*store_);
    const Reply reply = client_.Greet();
    ASSERT_EQ(reply.code, ReplyCode::kOk) << reply.message;
    EXPECT_EQ(std::get<Position>(reply.body).durable.epoch, Epoch());
  }
}

// SQLite undoes the whole transaction when it cannot write it.
TEST_F(Protocol, CutsThatTheCatalogLosesAreAppliedAgain) {
  ASSERT_EQ(client_.Ship(NewFile(kFile, "f", "first")).code, ReplyCode::kOk);
  Restart();  // kept
  ASSERT_EQ(client_.Greet().code, ReplyCode::kOk);
  const auto marker = [this] {
    struct stat status = {};
    stat((scratch_.path() + "/vol/applied").c_str(), &status);
    return std::pair(status.st_mtim.tv_sec, status.st_mtim.tv_nsec);
  };
  {
    const FileSizeLimit limit(2048);  // less than a page of the write-ahead log
    ASSERT_EQ(client_.Ship({Overwrite("again")}).code, ReplyCode::kOk);
    ASSERT_EQ(client_.Ship(NewFile(ObjectId(4, 4), "g", "second")).code, ReplyCode::kOk);
    // Each redo says twice in the marker what it does.
    const auto before = marker();
    ASSERT_TRUE(test::WaitFor([&] { return marker() != before; })) << "nothing was applied again";
    EXPECT_TRUE(test::WaitFor([this] {
      return client_.Ask(WaitApplied{client_.base(), 100}).code == ReplyCode::kIoError;
    })) << "nobody is told";
    EXPECT_TRUE(
        test::WaitFor([this] { return Content("f") == "again" && Content("g") == "second"; }));
    EXPECT_EQ(StagesIn(scratch_.path()).size(), 2U);
  }
  ASSERT_TRUE(test::WaitFor([this] { return StagesIn(scratch_.path()).empty(); }));
  ASSERT_EQ(client_.WaitApplied(client_.base()).code, ReplyCode::kOk);
  const CutName cut = client_.base();
  Restart();
  const Reply reply = client_.Greet();
  ASSERT_EQ(reply.code, ReplyCode::kOk) << reply.message;
  EXPECT_EQ(std::get<Position>(reply.body).applied, cut);
  ASSERT_EQ(client_.Ship({Overwrite("third")}).code, ReplyCode::kOk);
  EXPECT_EQ(Content("f"), "third");
}

// After a sync that failed the next may succeed, though the disk does not have what was to be
// synced.
TEST_F(Protocol, ASyncThatFailedIsNotMadeGoodByTheNext) {
  for (const int nth : {1, 2}) {  // the one while redoes go on, and the one that holds them up
    SCOPED_TRACE(nth);
    const std::string content = "written " + std::to_string(nth);
    const auto records = nth == 1 ? NewFile(kFile, "f", content) : std::vector{Overwrite(content)};
    ASSERT_TRUE(test::WaitFor([this] { return StagesIn(scratch_.path()).empty(); }));
    test::FailSync(nth);
    ASSERT_EQ(client_.Ship(records).code, ReplyCode::kOk);
    std::ofstream(scratch_.path() + "/vol/tree/f") << "lost!";
    ASSERT_FALSE(test::HasFailed()) << "too slow for this test";
    EXPECT_TRUE(test::WaitFor([&] { return Content("f") == content; })) << Content("f");
    EXPECT_TRUE(test::HasFailed());
    EXPECT_TRUE(test::WaitFor([this] {
      return client_.Ask(WaitApplied{client_.base(), 100}).code == ReplyCode::kIoError;
    })) << "nobody is told";
    ASSERT_TRUE(test::WaitFor([this] {
      return client_.Ask(WaitApplied{client_.base(), 100}).code == ReplyCode::kOk;
    })) << "never ends";
  }
  const CutName cut = client_.base();
  Restart();
  const Reply reply = client_.Greet();
  ASSERT_EQ(reply.code, ReplyCode::kOk) << reply.message;
  EXPECT_EQ(std::get<Position>(reply.body).applied, cut);
  EXPECT_EQ(Content("f"), "written 2");
}

// Linux tells a descriptor once of what could not be written, and a scrub syncs too.
TEST_F(Protocol, ASyncThatFailsForAScrubIsNotMadeGoodByTheNext) {
  ASSERT_EQ(client_.Ship(NewFile(kFile, "f", "content")).code, ReplyCode::kOk);
  std::ofstream(scratch_.path() + "/vol/tree/f") << "lost!";
  const auto volume = store_->OpenForScrub({kLocalAccount, "vol"}).value();
  const auto scrub = volume->NewScrub({});
  test::FailSync(1);
  scrub->Run();
  ASSERT_NE(scrub->report(0, 0).error, "") << "too slow for this test";
  EXPECT_TRUE(test::WaitFor([&] { return Content("f") == "content"; })) << Content("f");
  EXPECT_TRUE(test::WaitFor([this] {
    return StagesIn(scratch_.path()).empty() &&
           client_.Ask(WaitApplied{client_.base(), 100}).code == ReplyCode::kOk;
  })) << "never ends";
}

TEST_F(Protocol, ASyncThatFailsForAScrubBlocksNothingIfAllWasKept) {
  ASSERT_EQ(client_.Ship(NewFile(kFile, "f", "content")).code, ReplyCode::kOk);
  ASSERT_TRUE(test::WaitFor([this] { return StagesIn(scratch_.path()).empty(); }));
  const auto volume = store_->OpenForScrub({kLocalAccount, "vol"}).value();
  const auto scrub = volume->NewScrub({});
  test::FailSync(1);
  scrub->Run();
  EXPECT_NE(scrub->report(0, 0).error, "");
  EXPECT_EQ(client_.Ask(WaitApplied{client_.base(), 100}).code, ReplyCode::kOk);
}

// Between a sync that fails and the discarding of what was to be kept, another thread syncs.
TEST_F(VolumeParts, NothingIsKeptAfterASyncThatFailedUntilAllIsDiscarded) {
  KeptCatalog kept(*place_, queue_, report_);
  ASSERT_TRUE(kept.Open());
  std::optional<std::thread> syncing;
  {
    const KeptCatalog::Lock lock(kept);
    test::FailSync(1);
    syncing.emplace([&] { EXPECT_FALSE(kept.SyncTree()); });
    ASSERT_TRUE(test::WaitFor([] { return test::HasFailed(); }));
    EXPECT_FALSE(kept.Keep());
    EXPECT_TRUE(kept.Keep()) << "all is discarded";
  }
  syncing->join();
  const KeptCatalog::Lock lock(kept);
  EXPECT_TRUE(kept.Keep());
}

// While a cut becomes durable those before it turn out to have to be applied again. It must not be
// forgotten with them.
TEST_F(Protocol, ACutCommittedWhileASyncFailsIsAppliedToo) {
  using test::Held;
  ASSERT_EQ(client_.Ship(NewFile(kFile, "f", "first")).code, ReplyCode::kOk);
  ASSERT_EQ(client_.Begin().code, ReplyCode::kOk);
  ASSERT_EQ(client_.Ask(client_.MakeChunk({Overwrite("again")})).code, ReplyCode::kOk);
  const Commit commit = client_.MakeCommit(client_.NextCut());
  test::Hold(Held::kStageSync);
  std::thread committer([&] { EXPECT_EQ(client_.Ask(commit).code, ReplyCode::kOk); });
  EXPECT_TRUE(test::WaitFor([] { return test::IsHeld(Held::kStageSync); }));
  test::Hold(Held::kMarker);
  test::FailSync(1);
  EXPECT_TRUE(test::WaitFor([] { return test::HasFailed(); }));
  // The redo, if it begins before the commit has ended, ends after it.
  test::WaitFor([] { return test::IsHeld(Held::kMarker); }, test::milliseconds(300));
  test::Release(Held::kStageSync);
  committer.join();
  test::Release(Held::kMarker);
  Reply reply;
  EXPECT_TRUE(test::WaitFor([&] {
    reply = client_.Ask(WaitApplied{commit.cut, 100});
    const auto* position = std::get_if<Position>(&reply.body);
    return reply.code == ReplyCode::kOk && position != nullptr && position->applied == commit.cut;
  })) << reply.message;
  EXPECT_EQ(Content("f"), "again");
}

// Applied again as one, the cuts say that the object was there all the time, but its content has
// been moved to where it came back.
TEST_F(Protocol, WhatWentAndCameBackKeepsItsContentWhenItIsAppliedAgain) {
  const std::string content(2 << 20, 'c');
  const auto with_file = [&] {
    auto records = NewFile(kFile, "f", content);
    std::get<DataRecord>(records[1]).fresh = true;
    return records;
  };
  ASSERT_EQ(client_.Ship(with_file()).code, ReplyCode::kOk);
  ASSERT_TRUE(test::WaitFor([this] { return StagesIn(scratch_.path()).empty(); }));
  test::FailSync(1);
  ASSERT_EQ(client_.Ship({EntryRecord{kRootObject, "f", ObjectId()}}).code, ReplyCode::kOk);
  ASSERT_EQ(client_.Ship(with_file()).code, ReplyCode::kOk);
  ASSERT_FALSE(test::HasFailed()) << "too slow for this test";
  ASSERT_TRUE(test::WaitFor([] { return test::HasFailed(); }));
  Reply reply;
  ASSERT_TRUE(test::WaitFor([&] {
    reply = client_.Ask(WaitApplied{client_.base(), 100});
    return reply.code == ReplyCode::kOk && StagesIn(scratch_.path()).empty();
  }));
  EXPECT_EQ(std::get<Position>(reply.body).notice, "");
  EXPECT_TRUE(Content("f") == content);
  Restart();
  ASSERT_EQ(client_.Greet().code, ReplyCode::kOk);
  ASSERT_EQ(client_.Ship({Overwrite("again")}).code, ReplyCode::kOk);
  EXPECT_TRUE(Content("f") == "again" + content.substr(5));
}

// All is in the tree, but it may not be said: then it is not in the catalog either.
TEST_F(Protocol, ACutWhoseMarkerCannotBeWrittenIsAppliedAgain) {
  ASSERT_EQ(client_.Ship(NewFile(kFile, "f", "first")).code, ReplyCode::kOk);
  test::FailMarker(2);  // the first says that it begins
  const Record removed = EntryRecord{kRootObject, "f", ObjectId()};
  ASSERT_EQ(client_.Begin().code, ReplyCode::kOk);
  auto records = NewFile(ObjectId(4, 4), "g", "second");
  records.push_back(removed);
  ASSERT_EQ(client_.Ask(client_.MakeChunk(records)).code, ReplyCode::kOk);
  EXPECT_EQ(client_.Finish(client_.NextCut()).code, ReplyCode::kIoError);
  EXPECT_TRUE(test::HasFailed());
  EXPECT_TRUE(test::WaitFor([this] {
    return client_.Ask(WaitApplied{client_.base(), 100}).code == ReplyCode::kOk;
  }));
  for (const bool restarted : {false, true}) {
    if (restarted) Restart();
    const Reply reply = client_.Greet();
    ASSERT_EQ(reply.code, ReplyCode::kOk) << reply.message;
    EXPECT_EQ(std::get<Position>(reply.body).applied, client_.base());
    EXPECT_EQ(Content("g"), "second");
    EXPECT_FALSE(std::filesystem::exists(scratch_.path() + "/vol/tree/f"));
  }
  ASSERT_EQ(client_.Ship(NewFile(kFile, "f", "third")).code, ReplyCode::kOk);
  EXPECT_EQ(Content("f"), "third");
}

}  // namespace
}  // namespace tandem::replica
