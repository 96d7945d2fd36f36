#include "replica/source/peer.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "replica/source/stage_writer.h"
#include "tests/process.h"
#include "tests/unit/failing_calls.h"
#include "tests/unit/replica_client.h"
#include "tests/unit/replica_model.h"

namespace tandem::replica {
namespace {

// To look through a stage of everything may take minutes. Who would begin anew then, and commit as
// much again, would never come to an end.
TEST(Peer, ACommitThatTakesLongerThanAnAnswerMayIsWaitedFor) {
  const ScratchDirectory scratch;
  const auto store = Store::Open(scratch.path()).value();
  std::atomic<int> commits{0};
  const auto server = ReplySocket::Listen({"tcp://127.0.0.1:0"}, 16, kMaxMessageBytes + 4096,
                                          [&](std::string_view bytes) {
                                            const auto request = DecodeRequest(bytes);
                                            if (std::holds_alternative<Commit>(request->body)) {
                                              ++commits;
                                            }
                                            return store->Answer(bytes);
                                          })
                          .value();
  const auto peer =
      Peer::Dial(server->urls()[0], {}, nullptr, std::chrono::milliseconds(200)).value();
  Position position;
  ASSERT_TRUE(test::WaitFor([&] {
    auto opened = peer->Open(Hello{1, 1, "vol", VolumeId(1, 1), "test"});
    if (opened) position = *opened;
    return opened.has_value();
  }));
  Model model;
  model.Make("f", meta::Kind::kFile, "content");
  std::mt19937 random(1);
  ShipProgress progress;
  std::optional<StageWriter> begun;
  ASSERT_TRUE(test::WaitFor([&] {
    auto stage = StageWriter::Begin(*peer, progress, position.durable);
    if (stage) begun.emplace(std::move(*stage));
    return begun.has_value();
  }));
  StageWriter& stage = *begun;
  for (Record& record : RecordsBetween(Model::Nothing(), model, random)) {
    ASSERT_TRUE(stage.Add(std::move(record)));
  }
  test::Hold(test::Held::kStageSync);
  std::thread release([&] {
    EXPECT_TRUE(test::WaitFor([&] { return commits >= 3; }));
    test::Release(test::Held::kStageSync);
  });
  const CutName cut{Epoch(1), CutId(1, 1)};
  const auto reply = stage.Commit(cut, 1);
  release.join();
  ASSERT_TRUE(reply) << reply.error().ToString();
  EXPECT_EQ(reply->code, ReplyCode::kOk) << reply->message;
  EXPECT_TRUE(test::WaitFor([&] {
    const auto now = peer->AskFor<Position>(WaitApplied{cut, 100});
    return now && now->applied == cut;
  }));
}

}  // namespace
}  // namespace tandem::replica
