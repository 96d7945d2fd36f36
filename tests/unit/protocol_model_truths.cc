// The first state of the model, all its steps, and what must hold in each state.
#include <algorithm>

#include "tests/unit/protocol_model.h"

namespace tandem::test {

State ProtocolModel::First() const {
  State state;
  constexpr File kOld{1, 1};
  state.source.live = state.source.synced_files = {kOld, kOld};
  state.source.open_epoch = 1;
  state.replica.marker_of_this_boot = 1;
  if (!bounds_.seeded) return state;
  state.cuts[1] = {1, state.source.live};
  state.cut_count = 1;
  state.source.open_epoch = 2;
  state.source.applied = 1;
  state.source.hold = 2;
  state.source.database.cuts = 1 << 1;
  state.source.database.applied = 1;
  state.source.database.synced = state.source.synced = 1;
  state.source.synced_database = state.source.database;
  Replica& replica = state.replica;
  replica.tree = replica.synced_tree = state.source.live;
  replica.catalog = replica.kept_catalog = {1, {1, 1}, {1, 1}};
  replica.marker_cut = replica.marker_applied = replica.durable = replica.applied = 1;
  replica.has_applied = 1;
  return state;
}

namespace {

// What nothing to come can look at is made equal.
void Forget(State& state, const Bounds& bounds) {
  Source& source = state.source;
  Replica& replica = state.replica;
  const bool power_cuts = state.source_power_cuts < bounds.source_power_cuts;
  if (!power_cuts) source.synced_database = {};
  if (!power_cuts && state.source_kills >= bounds.source_kills) {
    source.synced_files = {};
    const Database before = source.database;
    source.database = {};
    source.database.cuts = before.cuts;
    source.database.compare_after = source.owed != 0 ? before.compare_after : uint8_t{0};
    source.synced = source.dropped = source.unrecorded = 0;
  }
  const bool power_cuts_of_replica = state.replica_power_cuts < bounds.replica_power_cuts;
  if (!power_cuts_of_replica) replica.synced_tree = {};
  if (!power_cuts_of_replica && state.replica_kills >= bounds.replica_kills) {
    replica.kept_catalog = {};
    for (uint8_t stage = 1; stage <= state.stage_count; ++stage) {
      const bool applied =
          EpochOf(state, state.stages[stage].cut) <= EpochOf(state, replica.applied);
      if (applied) replica.committed = static_cast<uint8_t>(replica.committed & ~(1 << stage));
    }
  }
  if (state.answered == 0) state.answer_durable = state.answer_applied = 0;
  // Nobody takes requests of a session that has ended.
  for (uint8_t stage = 1; stage <= state.stage_count; ++stage) {
    StageRequests& requests = state.stages[stage];
    const bool lives = requests.session == source.session || requests.session == replica.session;
    if (lives && requests.session != 0) continue;
    replica.closed = static_cast<uint8_t>(replica.closed & ~(1 << stage));
    if ((replica.committed >> stage & 1) == 0) requests = {};
    requests.session = 0;
  }
}

}  // namespace

const char* NameOf(Truth truth) {
  switch (truth) {
    case Truth::kNone:
      return "all is well";
    case Truth::kTreeIsCut:
      return "the tree is at the cut that the marker names";
    case Truth::kAckStands:
      return "what was acknowledged stands";
    case Truth::kSyncIsTrue:
      return "when sync says yes, the replica is what the source is";
    case Truth::kComesToRest:
      return "left alone, they come to rest";
    case Truth::kNothingIsLost:
      return "at rest, the replica is what the source is";
  }
  return "";
}

void ProtocolModel::Next(const State& state, std::vector<Step>& steps) const {
  steps.clear();
  ReplicaSteps(state, steps);
  SourceSteps(state, steps);
  BackgroundSteps(state, steps);
  SourceCrashes(state, steps);
  ReplicaCrashes(state, steps);
  for (Step& step : steps) Forget(step.state, bounds_);
}

// Without another fault, and with nothing late: the network gives each request its answer.
Truth ProtocolModel::Rest(State state) const {
  constexpr int kEnough = 100;
  state.replica.blocked = 0;
  for (int step = 0; step < kEnough; ++step) {
    if (Redo(state, 0) || Converse(state)) continue;
    const Source& source = state.source;
    const int stage = state.stage_count;
    const bool in_session = source.session == state.replica.session;
    if (source.phase == Phase::kReady && in_session) {
      const bool equal = state.source.live == state.replica.tree;
      return equal && state.replica.marker_applied != 0 ? Truth::kNone : Truth::kNothingIsLost;
    }
    if (source.phase == Phase::kHello) {
      TakeHello(state, true);
    } else if (source.phase == Phase::kBegin && TakeBegin(state, stage)) {
    } else if (source.phase == Phase::kCommit && TakeCommit(state, stage)) {
    } else {
      Disconnect(state);
    }
    if (state.stage_count == kMaxStages - 1 || state.cut_count > kMaxCuts - 3) break;
  }
  return Truth::kComesToRest;
}

Truth ProtocolModel::Broken(const State& state) const {
  if (state.broken != 0) return static_cast<Truth>(state.broken);
  const Source& source = state.source;
  const Replica& replica = state.replica;
  const bool whole = replica.marker_applied != 0 && replica.marker_of_this_boot != 0;
  if (whole && replica.tree != state.cuts[replica.marker_cut].files) return Truth::kTreeIsCut;
  const uint8_t durable = EpochOf(state, replica.durable);
  const uint8_t told = std::max(EpochOf(state, source.durable), EpochOf(state, source.applied));
  if (durable < told) return Truth::kAckStands;
  return Rest(state);
}

}  // namespace tandem::test
