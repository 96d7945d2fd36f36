// The protocol as a source sees it: replica/PROTOCOL.md, sentence by sentence.
#include "replica/store/volume.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <fstream>

#include "meta/base/database.h"
#include "replica/delta.h"
#include "replica/hash.h"
#include "tests/process.h"
#include "tests/unit/failing_calls.h"
#include "tests/unit/replica_client.h"

namespace tandem::replica {
namespace {

const ObjectId kFile(3, 3);

meta::Attributes FileOf(uint64_t size) {
  meta::Attributes attributes;
  attributes.kind = meta::Kind::kFile;
  attributes.permissions = 0644;
  attributes.uid = geteuid();
  attributes.gid = getegid();
  attributes.size = size;
  return attributes;
}

std::vector<Record> NewFile(ObjectId id, const std::string& name, const std::string& content) {
  return {ObjectRecord{id, true, true, FileOf(content.size())},
          DataRecord{id, 0, content.size(), Encoding::kLiteral, content, {}, 0, 0, 0},
          EntryRecord{kRootObject, name, id}};
}

Record Overwrite(const std::string& content) {
  return DataRecord{kFile, 0, content.size(), Encoding::kLiteral, content, {}, 0, 0, 0};
}

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

class Protocol : public testing::Test {
 protected:
  Protocol() : store_(Store::Open(scratch_.path()).value()), client_(*store_) {
    EXPECT_EQ(client_.Greet().code, ReplyCode::kOk);
  }
  void Restart() {
    store_.reset();
    store_ = Store::Open(scratch_.path()).value();
    client_.Use(*store_);
  }
  std::string Content(const std::string& name) {
    std::ifstream file(scratch_.path() + "/vol/tree/" + name);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  ScratchDirectory scratch_;
  std::unique_ptr<Store> store_;
  ReplicaClient client_;
};

TEST_F(Protocol, SecondDaemonIsKeptOutOfTheStore) {
  const auto second = Store::Open(scratch_.path());
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().kind(), ErrorKind::kUsage);
}

TEST_F(Protocol, AnotherSourceOfTheVolumeIsRefused) {
  ReplicaClient other(*store_, "vol", VolumeId(8, 8));
  const Reply reply = other.Greet();
  EXPECT_EQ(reply.code, ReplyCode::kRefused);
  EXPECT_NE(reply.message.find("vol"), std::string::npos);
  EXPECT_EQ(client_.Begin().code, ReplyCode::kOk) << "the rightful session goes on";
}

TEST_F(Protocol, VersionsWithoutOverlapAreRefused) {
  EXPECT_EQ(client_.Ask(Hello{7, 9, "vol", VolumeId(1, 1), ""}).code, ReplyCode::kVersion);
}

TEST_F(Protocol, AnotherSourceIsRefusedWhileOneIsThere) {
  const Hello twin{1, 1, "vol", VolumeId(1, 1), "another host:/source"};
  const Reply reply = client_.Ask(twin);
  EXPECT_EQ(reply.code, ReplyCode::kRefused);
  EXPECT_NE(reply.message.find("is being written by test"), std::string::npos) << reply.message;
  EXPECT_EQ(client_.Begin().code, ReplyCode::kOk) << "the other session goes on";
}

// A cloned machine: all it says of itself is the same.
TEST_F(Protocol, OfTwoRunsWithOneIdentityTheSecondIsRefused) {
  const Hello first{1, 1, "vol", VolumeId(1, 1), "host:/source", RunId(1, 1)};
  const Hello second{1, 1, "vol", VolumeId(1, 1), "host:/source", RunId(2, 2)};
  const auto connection = std::make_shared<Connection>();
  const auto say = [&](const Hello& hello, const ConnectionRef& over) {
    return DecodeReply(store_->Answer(EncodeRequest({{}, hello}), over)).value();
  };
  // The client of the fixture is from before there were runs.
  Restart();
  const Reply opened = say(first, connection);
  ASSERT_EQ(opened.code, ReplyCode::kOk) << opened.message;
  const SessionId session = std::get<Position>(opened.body).session;
  const Reply refused = say(second, std::make_shared<Connection>());
  EXPECT_EQ(refused.code, ReplyCode::kRefused);
  EXPECT_NE(refused.message.find("written by host:/source, and host:/source has the same identity"),
            std::string::npos)
      << refused.message;
  const auto undisturbed = DecodeReply(
      store_->Answer(EncodeRequest({session, replica::WaitApplied{{}, 0}}), connection));
  EXPECT_EQ(undisturbed->code, ReplyCode::kOk) << undisturbed->message;
  EXPECT_EQ(say(first, connection).code, ReplyCode::kOk) << "the same run says Hello again";
  connection->NoteClosed();  // it was killed
  EXPECT_EQ(say(second, std::make_shared<Connection>()).code, ReplyCode::kOk);
  EXPECT_EQ(say(first, std::make_shared<Connection>()).code, ReplyCode::kRefused);
}

TEST_F(Protocol, ACutNumberedBeyondWhatCanBeIsRefused) {
  ASSERT_EQ(client_.Ship(NewFile(kFile, "f", "content")).code, ReplyCode::kOk);
  const CutName before = client_.base();
  for (const uint64_t number : {UINT64_MAX, uint64_t{1} << 63, uint64_t{1} << 61}) {
    ASSERT_EQ(client_.Begin().code, ReplyCode::kOk);
    const Reply reply = client_.Ask(client_.MakeCommit({Epoch(number), CutId(3, 3)}));
    EXPECT_EQ(reply.code, ReplyCode::kBadRequest) << number;
  }
  // Not at what is durable either, under whatever id; and without a number only what makes room.
  ASSERT_EQ(client_.Begin().code, ReplyCode::kOk);
  EXPECT_EQ(client_.Ask(client_.MakeCommit({before.epoch, CutId(3, 3)})).code,
            ReplyCode::kBadRequest);
  EXPECT_EQ(client_.Ask(client_.MakeCommit({Epoch(), CutId(3, 3)})).code, ReplyCode::kNoSpace);
  ASSERT_EQ(client_.Greet().code, ReplyCode::kOk);
  EXPECT_EQ(client_.base(), before);
  EXPECT_EQ(client_.Ship({Overwrite("later")}).code, ReplyCode::kOk);
}

TEST_F(Protocol, NewHelloEndsTheOlderSession) {
  ASSERT_EQ(client_.Begin().code, ReplyCode::kOk);
  ReplicaClient newer(*store_);
  ASSERT_EQ(newer.Greet().code, ReplyCode::kOk);
  EXPECT_EQ(client_.Ask(client_.MakeChunk({})).code, ReplyCode::kUnknownSession);
}

TEST_F(Protocol, EveryMessageMayBeRepeated) {
  ASSERT_EQ(client_.Begin().code, ReplyCode::kOk);
  const replica::Begin begin{client_.stage(), client_.base()};
  const Chunk chunk = client_.MakeChunk(NewFile(kFile, "f", "content"));
  EXPECT_EQ(client_.Ask(chunk).code, ReplyCode::kOk);
  EXPECT_EQ(client_.Ask(begin).code, ReplyCode::kOk);
  EXPECT_EQ(client_.Ask(chunk).code, ReplyCode::kOk);
  const Commit commit = client_.MakeCommit(client_.NextCut());
  EXPECT_EQ(client_.Ask(commit).code, ReplyCode::kOk);
  EXPECT_EQ(client_.Ask(commit).code, ReplyCode::kOk);
  EXPECT_EQ(client_.WaitApplied(commit.cut).code, ReplyCode::kOk);
  EXPECT_EQ(client_.Ask(commit).code, ReplyCode::kOk);
  EXPECT_EQ(client_.Ask(begin).code, ReplyCode::kUnknownStage);
  EXPECT_EQ(client_.Ask(chunk).code, ReplyCode::kUnknownStage);
  EXPECT_EQ(Content("f"), "content");
  Restart();
  ASSERT_EQ(client_.Greet().code, ReplyCode::kOk);
  EXPECT_EQ(client_.base(), commit.cut);
  EXPECT_EQ(client_.Ask(commit).code, ReplyCode::kOk);
}

TEST_F(Protocol, DelayedBeginOfAnEndedStageEndsNothing) {
  ASSERT_EQ(client_.Begin().code, ReplyCode::kOk);
  const replica::Begin old{client_.stage(), client_.base()};
  ASSERT_EQ(client_.Begin().code, ReplyCode::kOk);
  EXPECT_EQ(client_.Ask(old).code, ReplyCode::kUnknownStage);
  EXPECT_EQ(client_.Ask(client_.MakeChunk({})).code, ReplyCode::kOk);
}

TEST_F(Protocol, WrongBaseIsRefused) {
  EXPECT_EQ(client_.Ask(replica::Begin{CutId(1, 1), {Epoch(5), CutId(6, 6)}}).code,
            ReplyCode::kWrongBase);
}

TEST_F(Protocol, DamagedOrMissingChunksAreNoticed) {
  ASSERT_EQ(client_.Begin().code, ReplyCode::kOk);
  Chunk chunk = client_.MakeChunk(NewFile(kFile, "f", "content"));
  Chunk damaged = chunk;
  damaged.payload[damaged.payload.size() / 2] ^= 1;
  EXPECT_EQ(client_.Ask(damaged).code, ReplyCode::kBadRequest);
  EXPECT_EQ(client_.Ask(client_.MakeCommit(client_.NextCut())).code, ReplyCode::kBadRequest);
  EXPECT_EQ(client_.Ask(chunk).code, ReplyCode::kOk);
  EXPECT_EQ(client_.Finish(client_.NextCut()).code, ReplyCode::kOk);
}

TEST_F(Protocol, UncommittedStageIsGoneAfterARestart) {
  ASSERT_EQ(client_.Begin().code, ReplyCode::kOk);
  const Chunk chunk = client_.MakeChunk(NewFile(kFile, "f", "content"));
  ASSERT_EQ(client_.Ask(chunk).code, ReplyCode::kOk);
  Restart();
  EXPECT_EQ(client_.Ask(chunk).code, ReplyCode::kUnknownSession);
  ASSERT_EQ(client_.Greet().code, ReplyCode::kOk);
  EXPECT_EQ(client_.Ask(chunk).code, ReplyCode::kUnknownStage);
}

TEST_F(Protocol, UnknownObjectsAreNamedAndMayFollow) {
  ASSERT_EQ(client_.Begin().code, ReplyCode::kOk);
  const ObjectId directory(4, 4);
  ASSERT_EQ(client_
                .Ask(client_.MakeChunk({EntryRecord{kRootObject, "f", kFile},
                                        EntryRecord{kRootObject, "d", directory}}))
                .code,
            ReplyCode::kOk);
  const Reply reply = client_.Ask(client_.MakeCommit(client_.NextCut()));
  ASSERT_EQ(reply.code, ReplyCode::kMissingObjects);
  EXPECT_EQ(reply.missing, (std::vector<ObjectId>{kFile, directory}));
  auto records = NewFile(kFile, "f", "now");
  meta::Attributes attributes = FileOf(0);
  attributes.kind = meta::Kind::kDirectory;
  attributes.permissions = 0755;
  records.push_back(ObjectRecord{directory, true, true, attributes});
  ASSERT_EQ(client_.Ask(client_.MakeChunk(records)).code, ReplyCode::kOk);
  EXPECT_EQ(client_.Finish(client_.NextCut()).code, ReplyCode::kOk);
  EXPECT_EQ(Content("f"), "now");
}

// A directory that was made and removed while it was being walked: its names were sent, it was not.
TEST_F(Protocol, NamesInADirectoryThatNobodyNamesCountForNothing) {
  const ObjectId directory(4, 4);
  ASSERT_EQ(client_
                .Ship({EntryRecord{directory, "f", kFile}, EntryRecord{directory, "g", {}},
                       EntryRecord{directory, "d", ObjectId(5, 5)}})
                .code,
            ReplyCode::kOk);
  EXPECT_TRUE(std::filesystem::is_empty(scratch_.path() + "/vol/tree"));
}

TEST_F(Protocol, DirectoriesInsideThemselvesAreRefused) {
  meta::Attributes attributes = FileOf(0);
  attributes.kind = meta::Kind::kDirectory;
  attributes.permissions = 0755;
  const ObjectId a(10, 1);
  const ObjectId b(10, 2);
  ASSERT_EQ(
      client_
          .Ship({ObjectRecord{a, true, true, attributes}, ObjectRecord{b, true, true, attributes},
                 EntryRecord{kRootObject, "a", a}, EntryRecord{a, "b", b}})
          .code,
      ReplyCode::kOk);
  EXPECT_EQ(client_.Ship({EntryRecord{kRootObject, "x", b}, EntryRecord{kRootObject, "y", b}}).code,
            ReplyCode::kBadRequest);
  EXPECT_EQ(client_.Ship({EntryRecord{b, "x", a}}).code, ReplyCode::kBadRequest);
  EXPECT_TRUE(std::filesystem::exists(scratch_.path() + "/vol/tree/a/b"));
}

TEST_F(Protocol, DeltasBecomeBytesOrAreRefused) {
  std::string content(200'000, '\0');
  for (size_t i = 0; i < content.size(); ++i) content[i] = static_cast<char>(i * 2654435761u >> 13);
  ASSERT_EQ(client_.Ship(NewFile(kFile, "f", content)).code, ReplyCode::kOk);
  const Reply reply = client_.Ask(GetSignature{kFile, 0, content.size()});
  ASSERT_EQ(reply.code, ReplyCode::kOk) << reply.message;
  std::string changed = content;
  changed.replace(1000, 5, "edit!");
  const std::string delta = MakeDelta(std::get<Signature>(reply.body).bytes, changed).value();
  DataRecord record{kFile, 0, changed.size(), Encoding::kDelta,   delta,
                    kFile, 0, content.size(), ChecksumOf(changed)};
  ASSERT_EQ(client_.Begin().code, ReplyCode::kOk);
  DataRecord wrong = record;
  wrong.checksum ^= 1;
  EXPECT_EQ(client_.Ask(client_.MakeChunk({wrong})).code, ReplyCode::kBasisChanged);
  ASSERT_EQ(client_.Ship({record}).code, ReplyCode::kOk);
  EXPECT_EQ(Content("f"), changed);
}

TEST_F(Protocol, ReadersSeeDatabaseAndDisk) {
  ASSERT_EQ(client_.Ship(NewFile(kFile, "f", "content")).code, ReplyCode::kOk);
  std::ofstream(scratch_.path() + "/vol/tree/stranger") << "x";
  std::ofstream(scratch_.path() + "/vol/tree/f", std::ios::app) << "more";

  auto listing =
      std::get<Listing>(client_.Ask(List{kRootObject, Origin::kDatabase, "", true}).body);
  ASSERT_EQ(listing.entries.size(), 1u);
  EXPECT_EQ(listing.entries[0].object, kFile);
  EXPECT_EQ(listing.entries[0].attributes.size, 7u);
  listing = std::get<Listing>(client_.Ask(List{kRootObject, Origin::kDisk, "", true}).body);
  ASSERT_EQ(listing.entries.size(), 2u);
  EXPECT_EQ(listing.entries[0].attributes.size, 11u);
  EXPECT_TRUE(listing.entries[1].object.is_null());
  listing = std::get<Listing>(client_.Ask(List{kRootObject, Origin::kDisk, "f", true}).body);
  EXPECT_EQ(listing.entries.size(), 1u);

  const auto found =
      std::get<Found>(client_.Ask(Find{{kFile, ObjectId(77, 7)}, Origin::kDisk, false}).body);
  ASSERT_EQ(found.objects.size(), 2u);
  EXPECT_EQ(found.objects[0].attributes.size, 11u);
  EXPECT_TRUE(found.objects[1].object.is_null());

  for (const auto algorithm : {HashAlgorithm::kXxh3, HashAlgorithm::kBlake2b,
                               HashAlgorithm::kSha256, HashAlgorithm::kMd5}) {
    const Reply reply = client_.Ask(GetDigests{kFile, 0, 1024, 512, algorithm, true});
    ASSERT_EQ(reply.code, ReplyCode::kOk) << reply.message;
    const auto digests = std::get<Digests>(reply.body);
    auto hasher = Hasher::Create(algorithm).value();
    hasher->Update("contentmore");
    EXPECT_EQ(digests.digests, hasher->Finish());
    EXPECT_EQ(digests.digest_size, DigestSize(algorithm));
  }
  EXPECT_EQ(client_.Ask(List{kFile, Origin::kDatabase, "", false}).code, ReplyCode::kNotFound);
  EXPECT_EQ(client_.Ask(List{kFile, Origin::kDisk, "", false}).code, ReplyCode::kNotFound);
  EXPECT_EQ(client_.Ask(GetSignature{kRootObject, 0, 10}).code, ReplyCode::kNotFound);
}

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

// Invariant 5: names planted in the tree lead nowhere else.
TEST_F(Protocol, Invariant5LinksInTheTreeLeadNowhere) {
  meta::Attributes attributes = FileOf(0);
  attributes.kind = meta::Kind::kDirectory;
  attributes.permissions = 0755;
  const ObjectId directory(10, 1);
  auto records = NewFile(kFile, "f", "inside");
  std::get<EntryRecord>(records[2]).parent = directory;
  records.push_back(ObjectRecord{directory, true, true, attributes});
  records.push_back(EntryRecord{kRootObject, "d", directory});
  ASSERT_EQ(client_.Ship(records).code, ReplyCode::kOk);

  const ScratchDirectory outside;
  std::ofstream(outside.path() + "/f") << "outside";
  std::filesystem::rename(scratch_.path() + "/vol/tree/d", scratch_.path() + "/vol/tree/d.away");
  std::filesystem::create_directory_symlink(outside.path(), scratch_.path() + "/vol/tree/d");
  const Reply reply =
      client_.Ship({DataRecord{kFile, 0, 6, Encoding::kLiteral, "OVERWR", {}, 0, 0, 0}});
  EXPECT_EQ(reply.code, ReplyCode::kMissingObjects);
  EXPECT_EQ(client_.Ask(List{directory, Origin::kDisk, "", false}).code, ReplyCode::kNotFound);
  std::ifstream file(outside.path() + "/f");
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(file), {}), "outside");
}

TEST_F(Protocol, VolumeNamesCannotLeaveTheStore) {
  for (const char* name : {"..", ".", ".lock", "a/b", "../x", ""}) {
    ReplicaClient client(*store_, name, VolumeId(5, 5));
    EXPECT_EQ(client.Greet().code, ReplyCode::kBadRequest) << name;
  }
}

}  // namespace
}  // namespace tandem::replica
