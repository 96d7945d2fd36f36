// The replica of the model: sessions, stages, redo and starts; and what the network delivers to it.
#include <algorithm>

#include "tests/unit/protocol_model.h"

namespace tandem::test {
namespace {

constexpr uint8_t kBegun = 1;
constexpr uint8_t kFirstFile = 2;  // one bit a file
constexpr uint8_t kMarkerWritten = kFirstFile << kFiles;

uint8_t Bit(int stage) { return static_cast<uint8_t>(1 << stage); }

void Remove(uint8_t& stages, int stage) { stages = static_cast<uint8_t>(stages & ~Bit(stage)); }

template <typename Visit>
void ForEachStage(const State& state, uint8_t stages, Visit&& visit) {
  for (uint8_t stage = 1; stage <= state.stage_count; ++stage) {
    if ((stages & Bit(stage)) != 0) visit(stage, EpochOf(state, state.stages[stage].cut));
  }
}

}  // namespace

// ---- Requests ----------------------------------------------------------------------------------

// Each Hello that arrives opens another session. Of those that come of the request the source waits
// for it learns of one at most; nobody ever speaks in the others.
void ProtocolModel::TakeHello(State& state, bool answered) const {
  Replica& replica = state.replica;
  replica.session = answered ? state.hello_count : 0;
  if (replica.open != 0) replica.closed |= Bit(replica.open);
  replica.open = 0;
  if (!answered) return;
  state.answered = 1;
  state.answer_durable = replica.durable;
  state.answer_applied = replica.applied;
}

bool ProtocolModel::TakeBegin(State& state, int number) const {
  Replica& replica = state.replica;
  const StageRequests& stage = state.stages[static_cast<size_t>(number)];
  if (stage.session != replica.session) return false;
  if (replica.open != number) {
    if ((replica.closed & Bit(number)) != 0) return false;
    if (stage.base != replica.durable) return false;
    if (replica.open != 0) replica.closed |= Bit(replica.open);
    replica.open = static_cast<uint8_t>(number);
  }
  if (number == state.stage_count && state.source.phase == Phase::kBegin) state.answered = 1;
  return true;
}

bool ProtocolModel::TakeCommit(State& state, int number) const {
  Replica& replica = state.replica;
  const StageRequests& stage = state.stages[static_cast<size_t>(number)];
  if (stage.session != replica.session) return false;
  if (stage.cut != replica.durable) {
    const bool fits = stage.base == replica.durable && replica.open == number;
    if (!fits && !Has(Flaw::kCommitUnchecked)) return false;
    if (!Reads(state)) {
      if (!TakesOnTop(state)) return false;
      if (Has(Flaw::kBlockedIsReplaced)) replica.committed = 0;
    }
    replica.committed |= Bit(number);
    replica.closed |= Bit(number);
    replica.open = 0;
    replica.durable = stage.cut;
  }
  if (number == state.stage_count && state.source.phase == Phase::kCommit) state.answered = 1;
  return true;
}

// ---- Redo --------------------------------------------------------------------------------------

uint8_t ProtocolModel::Pending(const State& state) const {
  uint8_t pending = 0;
  uint8_t oldest = 0;
  ForEachStage(state, state.replica.committed, [&](uint8_t stage, uint8_t epoch) {
    if (epoch <= EpochOf(state, state.replica.applied)) return;
    pending |= Bit(stage);
    if (oldest == 0 || epoch < EpochOf(state, state.stages[oldest].cut)) oldest = stage;
  });
  return Has(Flaw::kRedoSingly) && oldest != 0 ? Bit(oldest) : pending;
}

// Whether requests that read, and commits, are served.
bool ProtocolModel::Reads(const State& state) const {
  return Pending(state) == 0 && state.replica.redo == 0;
}

// StageTaker::CommitOnBlocked, which holds off the next attempt.
bool ProtocolModel::TakesOnTop(const State& state) const {
  const Replica& replica = state.replica;
  if (Has(Flaw::kOnTopUnlocked)) return bounds_.blocks != 0;
  return replica.blocked != 0 && replica.redo == 0;
}

// Its next step; false: nothing is to be done.
bool ProtocolModel::Redo(State& state, int first_file) const {
  Replica& replica = state.replica;
  const uint8_t pending = Pending(state);
  if (pending == 0 || replica.blocked != 0) return false;
  Files files = {};
  FileSet holds = 0;
  uint8_t cut = 0;
  // Later stages have later numbers.
  ForEachStage(state, pending, [&](uint8_t number, uint8_t) {
    const StageRequests& stage = state.stages[number];
    cut = stage.cut;
    holds |= stage.holds;
    for (int file = 0; file < kFiles; ++file) {
      if (In(stage.holds, file)) files[file] = stage.files[file];
    }
  });
  if (replica.redo == 0) {
    replica.redo = kBegun;
    if (Has(Flaw::kMarkerLate)) return true;
    replica.marker_applied = Has(Flaw::kMarkerEarly);
    replica.marker_cut = Has(Flaw::kMarkerEarly) ? cut : replica.applied;
    replica.marker_of_this_boot = 1;
    return true;
  }
  for (int i = 0; i < kFiles; ++i) {
    const int file = i == 0 ? first_file : i <= first_file ? i - 1 : i;
    const auto bit = static_cast<uint8_t>(kFirstFile << file);
    if (!In(holds, file) || (replica.redo & bit) != 0) continue;
    replica.tree[file] = files[file];
    replica.redo |= bit;
    return true;
  }
  if ((replica.redo & kMarkerWritten) == 0) {
    replica.redo |= kMarkerWritten;
    replica.marker_cut = cut;
    replica.marker_applied = 1;
    replica.marker_of_this_boot = 1;
    return true;
  }
  replica.catalog.cut = cut;
  replica.has_applied = std::max(replica.has_applied, EpochOf(state, cut));
  for (int file = 0; file < kFiles; ++file) {
    if (!In(holds, file)) continue;
    replica.catalog.times[file] = files[file].times;
    replica.catalog.changed[file] = EpochOf(state, cut);
  }
  replica.applied = cut;
  replica.redo = 0;
  return true;
}

// Applier::KeepApplied. That a crash comes between its two halves is one of the crashes before it.
void ProtocolModel::Keep(State& state) const {
  Replica& replica = state.replica;
  if (!Has(Flaw::kCatalogBeforeTree)) replica.synced_tree = replica.tree;
  replica.kept_catalog = replica.catalog;
}

// The rest of Applier::SyncOnce: redoes may have gone on since.
void ProtocolModel::RemoveStages(State& state) const {
  Replica& replica = state.replica;
  const uint8_t last = Has(Flaw::kStagesRemovedEarly) ? replica.applied : replica.kept_catalog.cut;
  ForEachStage(state, replica.committed, [&](uint8_t stage, uint8_t epoch) {
    if (epoch <= EpochOf(state, last)) Remove(replica.committed, stage);
  });
}

// SQLite gives up the transaction; KeptCatalog::ReturnLostCuts.
void ProtocolModel::LoseTransaction(State& state) const {
  Replica& replica = state.replica;
  replica.catalog = replica.kept_catalog;
  replica.applied = replica.catalog.cut;
  replica.redo = 0;
}

// RecoverStages and CheckMarker (volume_start.cc).
void ProtocolModel::Start(State& state) const {
  Replica& replica = state.replica;
  replica.session = replica.open = replica.closed = replica.blocked = 0;
  LoseTransaction(state);
  replica.durable = replica.applied;
  ForEachStage(state, replica.committed, [&](uint8_t stage, uint8_t epoch) {
    if (epoch <= EpochOf(state, replica.applied)) return;
    if (state.stages[stage].base == replica.durable && !Has(Flaw::kStagesForgotten)) {
      replica.durable = state.stages[stage].cut;
    } else {
      Remove(replica.committed, stage);
    }
  });
  if (Pending(state) != 0) return;
  const bool elsewhere = replica.marker_applied == 0 ||
                         EpochOf(state, replica.marker_cut) > EpochOf(state, replica.applied);
  if (elsewhere && replica.applied != 0) {
    replica.applied = replica.durable = replica.catalog.cut = replica.kept_catalog.cut = 0;
  }
  replica.marker_applied = replica.applied != 0;
  replica.marker_cut = replica.applied;
  replica.marker_of_this_boot = 1;
}

// ---- Steps -------------------------------------------------------------------------------------

void ProtocolModel::ReplicaSteps(const State& state, std::vector<Step>& steps) const {
  const auto add = [&](const char* move, int which, const State& next) {
    steps.push_back({move, which, next});
  };
  if (state.source.phase == Phase::kHello) {
    State next = state;
    TakeHello(next, true);
    add("hello arrives", state.hello_count, next);
  }
  if (state.hello_count != 0) {
    State next = state;
    TakeHello(next, false);
    add("a hello arrives late", 0, next);
  }
  for (int stage = 1; stage <= state.stage_count; ++stage) {
    State next = state;
    if (TakeBegin(next, stage)) add("begin arrives of stage", stage, next);
    next = state;
    if (state.stages[static_cast<size_t>(stage)].cut == 0) continue;
    if (state.source.phase == Phase::kRead && stage == state.stage_count) continue;
    if (TakeCommit(next, stage)) add("commit arrives of stage", stage, next);
  }
  const bool may_block = state.blocks < bounds_.blocks;
  const bool may_crash = may_block || state.replica_kills < bounds_.replica_kills ||
                         state.replica_power_cuts < bounds_.replica_power_cuts;
  if (may_block && state.replica.redo != 0) {
    State next = state;
    ++next.blocks;
    next.replica.blocked = 1;
    next.replica.redo = 0;
    add("the redo finds no room", 0, next);
  }
  if (state.replica.blocked != 0) {
    State next = state;
    next.replica.blocked = 0;
    add("there is room again", 0, next);
  }
  for (int file = 0; file < kFiles; ++file) {
    State next = state;
    if (!Redo(next, file)) break;
    // Only a crash, and who reads the marker, sees what is in between.
    while (!may_crash && next.replica.redo > kBegun && Redo(next, file)) {
    }
    add("redo, from file", file, next);
  }
  if (!may_crash || bounds_.replica_kills + bounds_.replica_power_cuts == 0) return;
  if (state.replica.redo == 0) {
    State next = state;
    Keep(next);
    add("keep what was applied", 0, next);
  }
  State next = state;
  RemoveStages(next);
  add("remove stages", 0, next);
}

void ProtocolModel::ReplicaCrashes(const State& state, std::vector<Step>& steps) const {
  if (state.replica_kills < bounds_.replica_kills) {
    State next = state;
    ++next.replica_kills;
    Start(next);
    steps.push_back({"kill replica", 0, next});
    next = state;
    ++next.replica_kills;
    LoseTransaction(next);
    steps.push_back({"the replica's disk is full", 0, next});
  }
  if (state.replica_power_cuts >= bounds_.replica_power_cuts) return;
  for (int lost = 0; lost < 1 << kFiles; ++lost) {
    State next = state;
    ++next.replica_power_cuts;
    Replica& replica = next.replica;
    for (int file = 0; file < kFiles; ++file) {
      if ((lost >> file & 1) != 0) replica.tree[file] = replica.synced_tree[file];
    }
    replica.synced_tree = replica.tree;
    replica.marker_of_this_boot = 0;
    if (Has(Flaw::kCommitUnsynced)) replica.committed = 0;
    Start(next);
    steps.push_back({"cut power of replica, losing", lost, next});
  }
}

}  // namespace tandem::test
