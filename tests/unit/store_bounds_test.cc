// What peers can make the store take: descriptors, memory, log lines; and that they hold up only
// themselves.
#include <fcntl.h>
#include <gmock/gmock.h>

#include <atomic>
#include <filesystem>
#include <future>
#include <optional>
#include <thread>

#include "meta/base/log_limit.h"
#include "replica/store/memory_budget.h"
#include "replica/store/volume_table.h"
#include "tests/unit/accounts_fixture.h"

namespace tandem::replica {
namespace {

using namespace std::chrono_literals;

size_t OpenFiles() {
  const std::filesystem::directory_iterator files("/proc/self/fd");
  return static_cast<size_t>(std::distance(begin(files), end(files)));
}

template <typename Condition>
bool Eventually(const Condition& condition) {
  const auto deadline = CondVar::Clock::now() + 30s;
  while (!condition()) {
    if (CondVar::Clock::now() > deadline) return false;
    std::this_thread::sleep_for(5ms);
  }
  return true;
}

TEST_F(StoreAccounts, AnIdleVolumeIsClosedAndItsSourceGoesOn) {
  auto client = ClientOf("alice/web");
  const ConnectionRef connection = ConnectionOf("alice/web");
  client.ConnectAs(connection);
  const size_t before = OpenFiles();
  ASSERT_EQ(client.Greet().code, ReplyCode::kOk);
  ASSERT_EQ(client.Ship(NewFile(1, "kept")).code, ReplyCode::kOk);
  EXPECT_GT(OpenFiles(), before);
  store_->CloseIdle(1h);
  EXPECT_EQ(client.Begin().code, ReplyCode::kOk) << "it was heard of within the hour";
  store_->CloseIdle({});
  EXPECT_EQ(client.Ask(client.MakeChunk({})).code, ReplyCode::kOk) << "its stage is open";
  ASSERT_EQ(client.Greet().code, ReplyCode::kOk);  // which ends the stage
  store_->CloseIdle({});
  EXPECT_EQ(client.Begin().code, ReplyCode::kOk) << "its connection is open";
  ASSERT_EQ(client.Greet().code, ReplyCode::kOk);
  std::const_pointer_cast<Connection>(connection)->NoteClosed();
  EXPECT_TRUE(Eventually([&] {  // once it has kept what was applied
    store_->CloseIdle({});
    return OpenFiles() == before;
  }));
  EXPECT_EQ(client.Begin().code, ReplyCode::kUnknownSession);
  const CutName base = client.base();
  ASSERT_EQ(client.Greet().code, ReplyCode::kOk);
  EXPECT_EQ(client.base(), base);
  EXPECT_EQ(client.Ship(NewFile(2, "more")).code, ReplyCode::kOk);
}

TEST_F(StoreAccounts, ManyVolumesAtAStartTakeFewDescriptors) {
  constexpr int kVolumes = 20;
  const size_t empty = OpenFiles();
  for (int i = 0; i < kVolumes; ++i) {
    ASSERT_EQ(ClientOf("local", "v" + std::to_string(i)).Greet().code, ReplyCode::kOk);
  }
  const size_t each = (OpenFiles() - empty) / kVolumes;
  EXPECT_LE(each, 12u);
  RecordProperty("descriptors_of_a_volume", static_cast<int>(each));
}

TEST(VolumesInATable, OneThatIsSlowToOpenHoldsUpNoOther) {
  VolumeTable table;
  std::promise<void> slow;
  std::future<void> released = slow.get_future();
  std::atomic<bool> began = false;
  const auto fails = [] { return MakeError(ErrorKind::kSystem, "open", EIO); };
  std::thread opener([&] {
    const auto volume = table.Get({"alice", "slow"}, [&]() -> Result<std::shared_ptr<Volume>> {
      began = true;
      released.wait();
      return fails();
    });
    EXPECT_EQ(volume.error().code(), EIO);
  });
  EXPECT_TRUE(Eventually([&] { return began.load(); }));
  const auto start = CondVar::Clock::now();
  EXPECT_EQ(
      table.Get({"bob", "quick"}, [&]() -> Result<std::shared_ptr<Volume>> { return fails(); })
          .error()
          .code(),
      EIO);
  EXPECT_EQ(table.Find({"bob", "other"}), nullptr);
  table.CloseIdle(CondVar::Clock::now());
  EXPECT_LT(CondVar::Clock::now() - start, 1s);
  // Who asks for the slow one is told to ask again.
  EXPECT_EQ(table
                .Get({"alice", "slow"},
                     [&]() -> Result<std::shared_ptr<Volume>> {
                       ADD_FAILURE() << "two threads open one volume";
                       return fails();
                     })
                .error()
                .kind(),
            ErrorKind::kUnreachable);
  slow.set_value();
  opener.join();
  EXPECT_EQ(table.CountOf("alice"), 0u) << "a name that leads to nothing is not kept";
}

// ---- Memory ------------------------------------------------------------------------------------

TEST(Decoding, NoMoreThanTheBudgetIsTakenAtATime) {
  MemoryBudget budget(100, 60);
  std::atomic<int> most = 0;
  std::atomic<int> now = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 16; ++i) {
    threads.emplace_back([&, i] {
      for (int round = 0; round < 50; ++round) {
        const MemoryBudget::Share share(budget, "account" + std::to_string(i % 4), 30);
        const int here = now += 30;
        int seen = most;
        while (here > seen && !most.compare_exchange_weak(seen, here)) {
        }
        now -= 30;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_LE(most, 100);
  EXPECT_EQ(budget.taken(), 0u);
  EXPECT_TRUE(budget.ShouldTrim(1000));
  EXPECT_FALSE(budget.ShouldTrim(1000));
}

TEST(Decoding, AnAccountThatFillsItsShareHoldsUpNoOther) {
  MemoryBudget budget(100, 60);
  std::optional<MemoryBudget::Share> first;
  first.emplace(budget, "greedy", 1000);  // all that one account may have
  std::atomic<bool> served = false;
  std::thread second([&] {
    const MemoryBudget::Share share(budget, "greedy", 10);
    served = true;
  });
  {
    const MemoryBudget::Share other(budget, "modest", 40);
    EXPECT_EQ(budget.taken(), 100u);
    EXPECT_FALSE(served);
  }
  first.reset();
  second.join();
  EXPECT_TRUE(served);
}

TEST(Reading, WaitsForMemoryThatOthersUse) {
  const ScratchDirectory scratch;
  const VolumeIdentity identity{VolumeId(1, 1), "vol"};
  UniqueFd fd(open(scratch.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  ASSERT_TRUE(Volume::Prepare(fd.get(), identity));
  VolumeTerms terms;
  terms.account = "alice";
  terms.reading = std::make_shared<MemoryBudget>(100, 100);
  const auto volume = Volume::Open(std::move(fd), scratch.path(), identity, terms).value();
  const Reply greeted = volume->Greet({1, 1, "vol", VolumeId(1, 1), "test"}, nullptr);
  const SessionId session = std::get<Position>(greeted.body).session;
  const std::vector<RequestBody> requests = {
      GetSignature{ObjectId(3, 3), 0, 50},
      Chunk{.stage = CutId(4, 4),
            .payload = EncodeRecords({DataRecord{ObjectId(3, 3), 0, 50, Encoding::kDelta, "delta",
                                                 ObjectId(3, 3), 0, 50, 7}})}};
  ASSERT_EQ(volume->Handle({session, Begin{CutId(4, 4), {}}}, nullptr).code, ReplyCode::kOk);
  for (RequestBody body : requests) {
    if (auto* chunk = std::get_if<Chunk>(&body)) chunk->checksum = ChecksumOf(chunk->payload);
    std::optional<MemoryBudget::Share> taken;
    taken.emplace(*terms.reading, "bob", 60);
    std::atomic<bool> answered = false;
    ReplyCode code = ReplyCode::kOk;
    std::thread asks([&] {
      code = volume->Handle({session, body}, nullptr).code;
      answered = true;
    });
    EXPECT_TRUE(Eventually([&] { return terms.reading->waiting() == 1; }));
    EXPECT_FALSE(answered);
    taken.reset();
    asks.join();
    EXPECT_TRUE(code == ReplyCode::kNotFound || code == ReplyCode::kBasisChanged) << int(code);
    EXPECT_EQ(terms.reading->taken(), 0u);
  }
}

// A few megabytes of the smallest records would take half a gigabyte.
TEST_F(StoreAccounts, AChunkOfTooManyRecordsIsRefused) {
  auto client = ClientOf("alice/web");
  ASSERT_EQ(client.Greet().code, ReplyCode::kOk);
  ASSERT_EQ(client.Begin().code, ReplyCode::kOk);
  std::vector<Record> records(kMaxChunkRecords + 1, EntryRecord{kRootObject, "n", ObjectId(1, 1)});
  EXPECT_EQ(client.Ask(client.MakeChunk(records)).code, ReplyCode::kBadRequest);
  records.pop_back();
  ASSERT_EQ(client.Begin().code, ReplyCode::kOk);
  EXPECT_EQ(client.Ask(client.MakeChunk(records)).code, ReplyCode::kOk);
}

// ---- The log -----------------------------------------------------------------------------------

TEST(LogLimit, LinesOfOneCauseAreCounted) {
  LogLimit limit(60s);
  auto now = LogLimit::Time() + 1h;
  EXPECT_EQ(limit.Suffix("peer", now), "");
  for (int i = 0; i < 12; ++i) EXPECT_EQ(limit.Suffix("peer", now + 1s), std::nullopt);
  EXPECT_EQ(limit.Suffix("another", now + 1s), "");
  EXPECT_EQ(limit.Suffix("peer", now + 61s), " (and 12 more like it)");
  EXPECT_EQ(limit.Suffix("peer", now + 62s), std::nullopt);
  EXPECT_EQ(limit.Suffix("peer", now + 200s), " (and 1 more like it)");
  EXPECT_EQ(limit.Suffix("peer", now + 300s), "");
}

TEST(LogLimit, CausesBeyondAllMeasureShareOne) {
  LogLimit limit(60s);
  const auto now = LogLimit::Time() + 1h;
  size_t written = 0;
  for (int i = 0; i < 10'000; ++i) {
    if (limit.Suffix("peer " + std::to_string(i), now)) ++written;
  }
  EXPECT_EQ(written, LogLimit::kMostCauses + 1);
}

}  // namespace
}  // namespace tandem::replica
