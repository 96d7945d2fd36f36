// A store whose daemon was killed, or lost power: the catalog is at one cut, the tree at a later
// one, and the stages lead to a cut that is later still. For tests of what the next daemon does.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <functional>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "tests/process.h"
#include "tests/unit/failing_calls.h"
#include "tests/unit/replica_client.h"
#include "tests/unit/replica_model.h"
#include "tests/unit/rounds.h"

namespace tandem::replica {

class InterruptedStore : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root: owners and devices are compared";
  }
  void Cut() {
    cuts_.push_back(RecordsBetween(states_.back(), model_, random_));
    states_.push_back(model_);
  }
  void TwoCutsOfAFile() {
    model_.Make("f", meta::Kind::kFile, "first");
    model_.Make("other", meta::Kind::kFile, "other");
    Cut();
    model_.Write("f", 0, "again");
    Cut();
  }
  // With another history each time; the seed of each is part of what a failure prints.
  void ForRounds(const std::function<void()>& round) {
    std::mt19937 seeds(1);
    for (int left = test::Rounds(20); left > 0; --left) {
      const auto seed = static_cast<unsigned>(seeds());
      SCOPED_TRACE("seed " + std::to_string(seed));
      random_.seed(seed);
      model_ = Model();
      cuts_.clear();
      states_.resize(1);
      ASSERT_NO_FATAL_FAILURE(round());
    }
  }
  // The first `kept` cuts are in the catalog, the first `applied` in the tree, all in stages.
  void Prepare(const std::string& store, size_t kept, size_t applied) {
    ASSERT_NO_FATAL_FAILURE(ShipAndDie(store, kept, applied));
    if (applied == cuts_.size()) return;
    // The other store moves into its tree what comes as a file.
    for (size_t cut = applied; cut < cuts_.size(); ++cut) {
      for (Record& record : cuts_[cut]) {
        if (auto* data = std::get_if<DataRecord>(&record)) data->fresh = false;
      }
    }
    const ScratchDirectory ahead;
    ASSERT_NO_FATAL_FAILURE(ShipAndDie(ahead.path(), applied, cuts_.size()));
    for (const auto& stage : StagesIn(ahead.path())) {
      std::filesystem::copy_file(stage, store + "/vol/stage/" + stage.filename().string());
    }
  }
  // What the daemon says when it has started again and applied what it had.
  void Start(const std::string& store, Position& position) {
    const auto opened = Store::Open(store).value();
    ReplicaClient client(*opened);
    const Reply reply = client.Greet();
    ASSERT_EQ(reply.code, ReplyCode::kOk) << reply.message;
    ASSERT_EQ(client.WaitApplied(client.base()).code, ReplyCode::kOk);
    position = std::get<Position>(client.Greet().body);
  }
  void ExpectNowhere(ReplicaClient& client) {
    Position position;
    ASSERT_TRUE(test::WaitFor([&] {
      position = std::get<Position>(client.Greet().body);
      return position.durable == position.applied && position.applied.epoch == Epoch();
    }));
  }
  // Applies what it has, and then is at no cut. What the source sends then makes it whole, and is
  // not lost though the daemon dies at once.
  void ExpectNowhereAndSeed(const std::string& store, const std::vector<ObjectId>& unknown) {
    const pid_t child = fork();
    if (child == 0) {
      const auto opened = Store::Open(store).value();
      SeedFromNowhere(*opened, store, unknown);
      _exit(HasFailure() ? 1 : 0);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_EQ(status, 0);
    Position position;
    ASSERT_NO_FATAL_FAILURE(Start(store, position));
    EXPECT_EQ(position.applied.epoch, Epoch(1000));
    EXPECT_EQ(position.notice, "");
    ASSERT_EQ(Difference(PictureOf(model_), PictureOf(store + "/vol/tree")), "");
  }
  void ExpectLast(const std::string& store) {
    Position position;
    ASSERT_NO_FATAL_FAILURE(Start(store, position));
    EXPECT_EQ(position.applied.epoch.number(), cuts_.size());
    EXPECT_EQ(position.notice, "");
    ASSERT_EQ(Difference(PictureOf(states_.back()), PictureOf(store + "/vol/tree")), "");
  }

  std::mt19937 random_{4711};
  Model model_;
  std::vector<std::vector<Record>> cuts_;
  std::vector<Model> states_{Model::Nothing()};

 private:
  // What there is, and the names that the replica may have and that are no more.
  std::vector<Record> Everything() {
    std::vector<Record> records = RecordsBetween(Model::Nothing(), model_, random_);
    for (const auto& [key, child] : states_.back().entries) {
      if (!model_.entries.contains(key)) {
        records.push_back(EntryRecord{key.parent, key.name, ObjectId()});
      }
    }
    return records;
  }
  void SeedFromNowhere(Store& store, const std::string& path,
                       const std::vector<ObjectId>& unknown) {
    ReplicaClient client(store);
    ASSERT_NO_FATAL_FAILURE(ExpectNowhere(client));
    const auto marker = std::ifstream(path + "/vol/applied");
    EXPECT_NE((std::ostringstream() << marker.rdbuf()).str().find("seeding"), std::string::npos);
    const Found found = std::get<Found>(client.Ask(Find{unknown}).body);
    for (const Listed& listed : found.objects) EXPECT_TRUE(listed.object.is_null());
    ASSERT_EQ(client.Ship(Everything()).code, ReplyCode::kOk);
    EXPECT_EQ(Difference(PictureOf(model_), PictureOf(path + "/vol/tree")), "");
  }
  // In a process of its own, which ends its store after `kept` cuts and then no more.
  void ShipAndDie(const std::string& path, size_t kept, size_t last) {
    const pid_t child = fork();
    if (child == 0) {
      bool good = true;
      for (const bool keep : {true, false}) {
        const size_t end = keep ? kept : last;
        auto store = Store::Open(path).value();
        ReplicaClient client(*store);
        good = good && client.Greet().code == ReplyCode::kOk;
        // Nothing is kept, however long it takes.
        if (!keep) test::Hold(test::Held::kSync);
        while (good && client.base().epoch.number() < end) {
          good = client.Ship(cuts_[client.base().epoch.number()]).code == ReplyCode::kOk;
        }
        if (!keep) _exit(good ? 0 : 1);
      }
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_EQ(status, 0);
    ASSERT_EQ(StagesIn(path).size(), last - kept);
  }
};

}  // namespace tandem::replica
