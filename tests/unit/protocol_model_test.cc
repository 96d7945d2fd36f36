// Looks at every state that the protocol between source and replica can get into, within bounds:
// tests/unit/protocol_model.h. And leaves out one guard after the other, to see that it is noticed.
#include "tests/unit/protocol_model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <iostream>
#include <unordered_set>

namespace tandem::test {
namespace {

// States are remembered by a fingerprint of 64 bits. Two that share one would hide one of them: of
// ten million states that happens once in 400,000 times.
uint64_t Fingerprint(const State& state) {
  uint64_t hash = 0x9e3779b97f4a7c15ULL;
  const auto* bytes = reinterpret_cast<const unsigned char*>(&state);
  for (size_t at = 0; at < sizeof state; at += sizeof(uint64_t)) {
    uint64_t word = 0;
    std::memcpy(&word, bytes + at, std::min(sizeof word, sizeof state - at));
    hash = (hash ^ word) * 0xff51afd7ed558ccdULL;
    hash ^= hash >> 32;
  }
  return hash;
}

struct Exploration {
  size_t states = 0;
  Truth broken = Truth::kNone;
  std::string trace;
};

class Explorer {
 public:
  Explorer(Bounds bounds, Flaw flaw) : model_(bounds, flaw) {}

  // Breadth first, so that what it finds is found on a shortest way.
  Exploration Explore() {
    std::vector<State> level = {model_.First()};
    Reach(level.front(), 0, 0);
    uint32_t number = 0;  // of the state being looked at, in the order in which they were reached
    std::vector<Step> steps;
    while (!level.empty()) {
      std::vector<State> next_level;
      for (const State& state : level) {
        model_.Next(state, steps);
        for (size_t i = 0; i < steps.size(); ++i) {
          if (!Reach(steps[i].state, number, i)) continue;
          next_level.push_back(steps[i].state);
          const Truth broken = model_.Broken(steps[i].state);
          if (broken != Truth::kNone) return {ways_.size(), broken, Trace()};
        }
        ++number;
      }
      level.swap(next_level);
    }
    return {ways_.size(), Truth::kNone, ""};
  }

 private:
  struct Way {
    uint32_t from;
    uint32_t step;
  };

  bool Reach(const State& state, uint32_t from, size_t step) {
    if (!reached_.insert(Fingerprint(state)).second) return false;
    ways_.push_back({from, static_cast<uint32_t>(step)});
    return true;
  }

  // The moves that lead to the state reached last.
  std::string Trace() const {
    std::vector<uint32_t> way;
    for (uint32_t at = static_cast<uint32_t>(ways_.size() - 1); at != 0; at = ways_[at].from) {
      way.push_back(ways_[at].step);
    }
    std::reverse(way.begin(), way.end());
    std::string trace;
    State state = model_.First();
    std::vector<Step> steps;
    for (const uint32_t step : way) {
      model_.Next(state, steps);
      trace +=
          std::string("  ") + steps[step].move + " " + std::to_string(steps[step].which) + "\n";
      state = steps[step].state;
    }
    return trace;
  }

  const ProtocolModel model_;
  std::unordered_set<uint64_t> reached_;
  std::vector<Way> ways_;
};

std::string Told(const Exploration& found) {
  return std::string("broken: ") + NameOf(found.broken) + "\n" + found.trace;
}

// {seeded, writes, cuts, stages, hellos, kills and power cuts of the source, of the replica, redoes
// that find no room}
constexpr Bounds kNetwork = {true, 2, 3, 3, 3, 0, 0, 0, 0};
constexpr Bounds kSeeding = {false, 2, 3, 3, 3, 0, 0, 0, 0};
constexpr Bounds kSourcePower = {true, 1, 3, 3, 3, 0, 1, 0, 0};
constexpr Bounds kSourceBoth = {true, 1, 2, 2, 2, 1, 1, 0, 0};
constexpr Bounds kReplicaPower = {true, 2, 3, 3, 3, 0, 0, 0, 1};
constexpr Bounds kBlocked = {true, 2, 3, 3, 2, 0, 0, 0, 0, 2};
constexpr Bounds kBlockedPower = {true, 2, 3, 3, 2, 0, 0, 0, 1, 1};
constexpr Bounds kBlockedSource = {true, 2, 2, 2, 2, 1, 0, 0, 0, 1};

struct World {
  const char* name;
  Bounds bounds;
};
std::string NameOfWorld(const testing::TestParamInfo<World>& world) { return world.param.name; }
void PrintTo(const World& world, std::ostream* out) { *out << world.name; }

class ProtocolModelWorld : public testing::TestWithParam<World> {};

TEST_P(ProtocolModelWorld, KeepsAllItsTruths) {
  const Exploration found = Explorer(GetParam().bounds, Flaw::kNone).Explore();
  EXPECT_EQ(found.broken, Truth::kNone) << Told(found);
  RecordProperty("states", static_cast<int>(found.states));
  std::cout << found.states << " states\n";
}

INSTANTIATE_TEST_SUITE_P(
    Worlds, ProtocolModelWorld,
    testing::Values(World{"Network", kNetwork}, World{"Seeding", kSeeding},
                    World{"SourceKilled", {true, 2, 2, 2, 2, 1, 0, 0, 0}},
                    World{"SourceKilledTwice", {true, 1, 2, 2, 2, 2, 0, 0, 0}},
                    World{"SourceLosesPower", kSourcePower},
                    World{"SourceLosesPowerTwice", {true, 1, 2, 2, 2, 0, 2, 0, 0}},
                    World{"SourceKilledAndLosesPower", kSourceBoth},
                    World{"ReplicaLosesPower", kReplicaPower},
                    World{"ReplicaLosesPowerTwice", {true, 2, 2, 2, 2, 0, 0, 0, 2}},
                    World{"ReplicaKilledAndLosesPower", {true, 2, 2, 2, 2, 0, 0, 1, 1}},
                    World{"SeedingReplicaCrashes", {false, 1, 2, 2, 2, 0, 0, 1, 1}},
                    World{"Blocked", kBlocked}, World{"BlockedReplicaLosesPower", kBlockedPower},
                    World{"BlockedSourceKilled", kBlockedSource},
                    World{"BothKilled", {true, 1, 3, 3, 3, 1, 0, 1, 0}},
                    World{"BothLosePower", {true, 1, 2, 3, 3, 0, 1, 0, 1}}),
    NameOfWorld);

struct Omission {
  const char* name;
  Flaw flaw;
  Bounds bounds;
  Truth broken;
};
std::string NameOfOmission(const testing::TestParamInfo<Omission>& omission) {
  return omission.param.name;
}
void PrintTo(const Omission& omission, std::ostream* out) { *out << omission.name; }

class ProtocolModelOmission : public testing::TestWithParam<Omission> {};

// Otherwise the test above could not fail.
TEST_P(ProtocolModelOmission, IsNoticed) {
  const Exploration found = Explorer(GetParam().bounds, GetParam().flaw).Explore();
  EXPECT_EQ(found.broken, GetParam().broken) << Told(found);
}

constexpr Truth kLost = Truth::kNothingIsLost;
constexpr Truth kTree = Truth::kTreeIsCut;
constexpr Truth kAck = Truth::kAckStands;
constexpr Truth kSync = Truth::kSyncIsTrue;
constexpr Truth kRest = Truth::kComesToRest;

INSTANTIATE_TEST_SUITE_P(
    Source, ProtocolModelOmission,
    testing::Values(
        Omission{"Mark", Flaw::kNoMark, kSourceBoth, kLost},
        Omission{"SyncBeforeCooling", Flaw::kCoolUnsynced, {true, 2, 2, 1, 1, 1, 1, 0, 0}, kLost},
        Omission{"AppliedBeforeDrop", Flaw::kDropUnapplied, kNetwork, kLost},
        Omission{"NoDropWhileOwed", Flaw::kDropWhileOwed, kSourcePower, kLost},
        Omission{"HoldBeforeAsking", Flaw::kAskBeforeHold, kSeeding, kLost},
        Omission{"DebtOfAPowerCut", Flaw::kOwesNothing, kSourcePower, kLost},
        Omission{"CompareAfter", Flaw::kNoCompareAfter, kSourcePower, kLost},
        Omission{"Suspects", Flaw::kNoSuspects, kSourcePower, kLost},
        Omission{"CutOfTheWalk", Flaw::kWalkInOldCut, kSourcePower, kLost},
        Omission{"AdvanceBeyond", Flaw::kNoAdvance, kSourcePower, kRest},
        Omission{"Preserving", Flaw::kReadLive, kNetwork, kTree},
        Omission{"UnknownOutcome", Flaw::kReuseCut, kNetwork, kLost},
        Omission{"AskIfApplied", Flaw::kDurableIsApplied, kNetwork, kSync},
        Omission{"NotInStepWhileOwed", Flaw::kInStepWhileOwed, kSourceBoth, kSync}),
    NameOfOmission);

INSTANTIATE_TEST_SUITE_P(
    Replica, ProtocolModelOmission,
    testing::Values(Omission{"BaseOfACommit", Flaw::kCommitUnchecked, kNetwork, kRest},
                    Omission{"SyncOfACommit", Flaw::kCommitUnsynced, kReplicaPower, kAck},
                    Omission{"KeepBeforeRemoval", Flaw::kStagesRemovedEarly, kReplicaPower, kAck},
                    Omission{"TreeBeforeCatalog", Flaw::kCatalogBeforeTree, kReplicaPower, kTree},
                    Omission{"MarkerBeforeRedo", Flaw::kMarkerLate, kReplicaPower, kTree},
                    Omission{"MarkerAfterRedo", Flaw::kMarkerEarly, kReplicaPower, kTree},
                    Omission{"RedoAtStart", Flaw::kStagesForgotten, kReplicaPower, kAck},
                    Omission{"RedoAsOne", Flaw::kRedoSingly, kReplicaPower, kTree},
                    Omission{"NoRedoMeanwhile", Flaw::kOnTopUnlocked, kBlocked, kLost},
                    Omission{"BlockedStageStays", Flaw::kBlockedIsReplaced, kBlocked, kLost}),
    NameOfOmission);

}  // namespace
}  // namespace tandem::test
