// A replica that lies, beside an honest one: it may cost the source its own progress, and nothing
// else. Source, senders and network are real; there is no mount.
#include <gtest/gtest.h>

#include <atomic>
#include <fstream>

#include "replica/source/replication.h"
#include "replica/transport/transport.h"
#include "replica/wire/wire_generated.h"
#include "tests/process.h"
#include "tests/unit/replica_client.h"
#include "tests/unit/tracked_directory.h"

namespace tandem::replica {
namespace {

// A daemon. What it says is what a real store says, but for what `Lie` makes of it.
class Daemon {
 public:
  using Lie = std::function<void(const Request& request, Reply& reply)>;

  explicit Daemon(Lie lie = nullptr) : lie_(std::move(lie)) {
    server_ = ReplySocket::Listen({"tcp://127.0.0.1:0"}, 16, kMaxMessageBytes + 4096,
                                  [this](std::string_view bytes, const ConnectionRef& connection) {
                                    return Answer(bytes, connection);
                                  })
                  .value();
  }
  ~Daemon() {
    store_->Stop();
    server_.reset();
  }
  const std::string& url() const { return url_ = server_->urls()[0]; }
  std::string Content(const std::string& name) const {
    std::ifstream file(scratch_.path() + "/vol/tree/" + name);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  // Requests of this kind so far.
  template <typename Body>
  int count() const {
    return counts_[RequestBody(Body()).index()];
  }
  // Answers with these bytes, whatever is asked.
  void Say(std::string bytes) { said_ = std::move(bytes); }

 private:
  std::string Answer(std::string_view bytes, const ConnectionRef& connection) {
    const auto request = DecodeRequest(bytes);
    if (request) ++counts_[request->body.index()];
    if (!said_.empty()) return said_;
    std::string honest = store_->Answer(bytes, connection);
    if (!lie_ || !request) return honest;
    Reply reply = DecodeReply(honest).value();
    lie_(*request, reply);
    return EncodeReply(reply);
  }

  const Lie lie_;
  ScratchDirectory scratch_;
  std::unique_ptr<Store> store_ = Store::Open(scratch_.path()).value();
  std::array<std::atomic<int>, std::variant_size_v<RequestBody>> counts_{};
  std::string said_;
  mutable std::string url_;
  std::unique_ptr<ReplySocket> server_;
};

class Liar : public testing::Test {
 protected:
  // The liar comes first.
  void Start(Daemon& liar, const meta::ReplicaRecord& known = {}) {
    Replication::Options options;
    options.volume_name = "vol";
    options.volume = VolumeId(1, 1);
    options.source = "test";
    for (const auto& [name, daemon] : {std::pair("liar", &liar), std::pair("honest", &honest_)}) {
      meta::ReplicaRecord record = known;
      record.name = name;
      record.url = daemon->url();
      options.replicas.push_back(record);
    }
    replication_ =
        Replication::Start(std::move(options), source_.tracker(), source_.tree(), source_.writer());
  }
  ReplicaStatus StatusOf(size_t index) { return replication_->Statuses()[index]; }

  // The honest replica has everything, and is known to have it.
  void ExpectHonestFollows() {
    for (int i = 0; i < 3; ++i) {
      const std::string name = "file" + std::to_string(++files_);
      source_.CreateFile(name);
      source_.Write(name, 0, "content of " + name);
      const auto synced = replication_->WaitUntilApplied("honest", source_.tracker().NewestChange(),
                                                         CondVar::Clock::now() + test::kPatience);
      ASSERT_TRUE(synced) << synced.error().ToString();
      EXPECT_EQ(honest_.Content(name), "content of " + name);
      EXPECT_EQ(StatusOf(1).state, ReplicaState::kCurrent) << StatusOf(1).error;
    }
  }
  void ExpectBlocked(const std::string& reason) {
    EXPECT_TRUE(test::WaitFor([&] {
      const ReplicaStatus status = StatusOf(0);
      return status.state == ReplicaState::kBlocked &&
             status.error.find(reason) != std::string::npos;
    })) << NameOf(StatusOf(0).state)
        << ": " << StatusOf(0).error;
    EXPECT_FALSE(replication_->WaitUntilApplied("liar", source_.tracker().NewestChange(),
                                                CondVar::Clock::now()));
  }

  meta::TrackedDirectory source_;
  Daemon honest_;
  std::unique_ptr<Replication> replication_;
  int files_ = 0;
};

Daemon::Lie ClaimsCut(Epoch epoch) {
  return [epoch](const Request& request, Reply& reply) {
    if (std::holds_alternative<Begin>(request.body)) reply = {};
    auto* position = std::get_if<Position>(&reply.body);
    if (position == nullptr) return;
    position->durable = position->applied = {epoch, CutId(6, 6)};
    position->empty = false;
  };
}

TEST_F(Liar, CutsThatNobodyCanHaveReachedAreNotBelieved) {
  for (const uint64_t number :
       {UINT64_MAX, uint64_t{INT64_MAX}, uint64_t{1} << 63, uint64_t{1} << 62, uint64_t{1} << 61}) {
    Daemon liar(ClaimsCut(Epoch(number)));
    Start(liar);
    ExpectBlocked("cut " + std::to_string(number) + ", which no source can have reached");
    EXPECT_NE(StatusOf(0).error.find(liar.url()), std::string::npos) << StatusOf(0).error;
    ExpectHonestFollows();
    EXPECT_LT(source_.tracker().open_epoch().number(), 10'000u);
    replication_.reset();
  }
}

// It may be true, of a source whose state was lost. It costs a number, and nobody else anything.
TEST_F(Liar, CutsThatMayBeTrueAreOvertaken) {
  uint64_t claim = (uint64_t{1} << 50) - 1;
  for (int i = 0; i < 5; ++i, claim = source_.tracker().open_epoch().number() + 1'000'000) {
    Daemon liar(ClaimsCut(Epoch(claim)));
    Start(liar);
    ASSERT_TRUE(test::WaitFor([&] { return source_.tracker().open_epoch() > Epoch(claim); }));
    ExpectHonestFollows();
    replication_.reset();
  }
}

TEST_F(Liar, AReplyWithoutItsBodyBlocksItsReplicaOnly) {
  for (uint8_t type = 1; type <= 6; ++type) {
    flatbuffers::FlatBufferBuilder builder;
    builder.Finish(wire::CreateReply(builder, wire::ReplyCode::Ok, 0, 0,
                                     static_cast<wire::ReplyBody>(type), 0),
                   "TFA1");
    Daemon liar;
    liar.Say({reinterpret_cast<const char*>(builder.GetBufferPointer()), builder.GetSize()});
    Start(liar);
    ExpectBlocked("union");
    ExpectHonestFollows();
    replication_.reset();
  }
}

TEST_F(Liar, APositionWithoutSessionOrOfAnotherProtocolIsRefused) {
  Daemon without_session([](const Request&, Reply& reply) {
    if (auto* position = std::get_if<Position>(&reply.body)) position->session = {};
  });
  Start(without_session);
  ExpectBlocked("session without id");
  replication_.reset();
  Daemon other_protocol([](const Request&, Reply& reply) {
    if (auto* position = std::get_if<Position>(&reply.body)) position->protocol = 7;
  });
  Start(other_protocol);
  ExpectBlocked("protocol 7");
  ExpectHonestFollows();
}

// So that it is asked what it has.
void SayNotEmpty(Reply& reply) {
  if (auto* position = std::get_if<Position>(&reply.body)) position->empty = false;
}

Listing NamesAfter(const std::string& name) {
  Listing listing;
  meta::Attributes attributes;
  attributes.kind = meta::Kind::kFile;
  listing.entries = {{name + "x", ObjectId(7, 7), attributes, {}}};
  listing.more = true;
  return listing;
}

TEST_F(Liar, ADirectoryThatIsListedForEverIsNotListedForEver) {
  const std::vector<std::function<Listing(const List&)>> listings = {
      [](const List&) { return NamesAfter("same"); },
      [](const List& ask) { return NamesAfter(ask.after.empty() ? "b" : "a"); },
      [](const List&) {
        return Listing{{}, true};
      }};
  for (const auto& listing : listings) {
    Daemon liar([&](const Request& request, Reply& reply) {
      SayNotEmpty(reply);
      if (const auto* list = std::get_if<List>(&request.body)) {
        reply = {ReplyCode::kOk, "", {}, listing(*list)};
      }
    });
    Start(liar);
    ExpectBlocked("does not end");
    ExpectHonestFollows();
    replication_.reset();
  }
}

TEST_F(Liar, FoundObjectsOfAnotherNumberAreRefused) {
  Daemon liar([](const Request&, Reply& reply) {
    SayNotEmpty(reply);
    if (auto* found = std::get_if<Found>(&reply.body)) found->objects.emplace_back();
  });
  Start(liar);
  ExpectBlocked("another number of objects");
  ExpectHonestFollows();
}

TEST_F(Liar, ACutThatIsNeverAppliedIsAskedForWithPauses) {
  Daemon liar([](const Request&, Reply& reply) {
    if (auto* position = std::get_if<Position>(&reply.body)) position->applied = {};
  });
  Start(liar);
  ASSERT_TRUE(test::WaitFor([&] { return liar.count<WaitApplied>() >= 3; }));
  const auto begin = CondVar::Clock::now();
  const int before = liar.count<WaitApplied>();
  ExpectHonestFollows();
  ASSERT_TRUE(test::WaitFor([&] { return liar.count<WaitApplied>() >= before + 10; }));
  const auto asked = liar.count<WaitApplied>() - before;
  EXPECT_LE(asked, (CondVar::Clock::now() - begin) / std::chrono::milliseconds(40) + 5);
}

TEST_F(Liar, ObjectsThatAreAlwaysMissingDoNotKeepItCommittingForEver) {
  Daemon liar([](const Request& request, Reply& reply) {
    if (!std::holds_alternative<Commit>(request.body) &&
        !std::holds_alternative<Increment>(request.body)) {
      return;
    }
    static std::atomic<uint64_t> next{1};
    reply = {ReplyCode::kMissingObjects, "more", {ObjectId(8, ++next)}, {}};
  });
  Start(liar);
  // It begins anew in the end.
  EXPECT_TRUE(test::WaitFor([&] { return liar.count<Hello>() >= 2; }));
  EXPECT_FALSE(replication_->WaitUntilApplied("liar", source_.tracker().NewestChange(),
                                              CondVar::Clock::now()));
  ExpectHonestFollows();
}

}  // namespace
}  // namespace tandem::replica
