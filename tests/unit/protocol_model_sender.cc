// The source's end of the conversation in the model: what the thread of replica/source/sender.cc
// does.
#include <array>

#include "tests/unit/protocol_model.h"

namespace tandem::test {

// Where the sender releases its hold. Until a reconcile that is owed has been done, what hot and
// dirty rows say is part of it: it may show in no attribute.
void ProtocolModel::Release(State& state) const {
  const bool keep = state.source.owed != 0 && !Has(Flaw::kDropWhileOwed);
  state.source.hold = keep ? kHoldAll : 0;
}

void ProtocolModel::Disconnect(State& state) const {
  Source& source = state.source;
  const bool filling = source.phase == Phase::kWalk || source.phase == Phase::kFill ||
                       source.phase == Phase::kRead || source.phase == Phase::kCommit;
  if (filling && source.increments == 0) Release(state);
  if (source.phase == Phase::kCommit && Has(Flaw::kReuseCut)) {
    const uint8_t cut = state.stages[state.stage_count].cut;
    source.reuse = cut;
    source.open = state.stages[state.stage_count].holds;
    source.open_epoch = EpochOf(state, cut);
    source.database.cuts = static_cast<uint16_t>(source.database.cuts & ~(1 << cut));
  }
  source.phase = Phase::kDown;
  source.session = 0;
  source.late_hold = 0;
  source.on_top = 0;
  state.answered = 0;
}

// `tandem sync` that asked just before would say yes now.
void ProtocolModel::CheckSync(State& state) const {
  const Source& source = state.source;
  if (!Knows(source.database, source.applied)) return;
  if (EpochOf(state, source.applied) < NewestChange(source)) return;
  const bool same = state.cuts[source.applied].files == source.live;
  const bool has_been = state.replica.has_applied >= EpochOf(state, source.applied);
  if (!same || !has_been) state.broken = static_cast<uint8_t>(Truth::kSyncIsTrue);
}

// Sender::ShipOnTop: it is told that the cut it waits for finds no room.
bool ProtocolModel::MayShipOnTop(const State& state) const {
  const Source& source = state.source;
  const Replica& replica = state.replica;
  if (replica.blocked == 0 || replica.session != source.session) return false;
  if (source.durable != replica.durable) return false;
  if (NewestChange(source) <= EpochOf(state, source.durable)) return false;
  return Knows(source.database, source.durable);
}

void ProtocolModel::TakeHelloReply(State& state) const {
  Source& source = state.source;
  source.session = state.hello_count;
  source.durable = state.answer_durable;
  source.applied = state.answer_applied;
  state.answered = 0;
  source.increments = source.owed == 0 && Knows(source.database, source.durable);
  const uint8_t hold = HoldAfter(EpochOf(state, source.durable));
  if (source.increments == 0) {
    Release(state);
  } else if (Has(Flaw::kAskBeforeHold)) {
    source.late_hold = hold;
  } else {
    source.hold = hold;
  }
  if (source.increments != 0) CheckSync(state);
  source.phase = source.durable == source.applied ? Phase::kReady : Phase::kCatchUp;
  if (source.phase == Phase::kReady && source.increments != 0) source.unrecorded = source.applied;
}

// A position that comes late says what it would have said, had it come at once and had all that
// happened meanwhile come after: so it needs no message of its own.
bool ProtocolModel::AskApplied(State& state) const {
  Source& source = state.source;
  if (state.replica.session != source.session) return false;
  if (state.replica.applied != state.replica.durable) return false;
  source.durable = source.applied = state.replica.durable;
  if (source.phase == Phase::kCatchUp && source.on_top != 0) {
    source.increments = source.owed == 0 && Knows(source.database, source.durable);
    if (source.increments != 0) source.hold = HoldAfter(EpochOf(state, source.durable));
  }
  source.on_top = 0;
  if (source.phase == Phase::kAwait) {
    source.increments = 1;
    source.owed = 0;
    source.hold = HoldAfter(EpochOf(state, source.applied));
    CheckSync(state);
  } else if (source.owed == 0 || Has(Flaw::kInStepWhileOwed)) {
    CheckSync(state);
  }
  source.phase = Phase::kReady;
  if (source.increments != 0) source.unrecorded = source.applied;
  return true;
}

void ProtocolModel::BeginWalk(State& state) const {
  Source& source = state.source;
  const uint8_t theirs = EpochOf(state, source.durable);
  if (source.open_epoch <= theirs && !Has(Flaw::kNoAdvance)) source.open_epoch = HoldAfter(theirs);
  const uint8_t start = TakeCut(state, !Has(Flaw::kWalkInOldCut));
  StageRequests& stage = state.stages[state.stage_count];
  if (!Has(Flaw::kNoSuspects)) stage.holds = ChangedAfter(source, 0);
  source.after = EpochOf(state, start);
  source.hold = HoldAfter(source.after);
  if (source.owed != 0) {
    if (!Has(Flaw::kDropWhileOwed)) source.hold = kHoldAll;
  }
  source.phase = Phase::kWalk;
}

// Reads the live files and the replica's catalog. Nothing but the source's own commits changes
// that, so the answers need no messages.
bool ProtocolModel::Walk(State& state) const {
  Source& source = state.source;
  if (state.replica.session != source.session || !Reads(state)) return false;
  StageRequests& stage = state.stages[state.stage_count];
  const Catalog& catalog = state.replica.catalog;
  for (int file = 0; file < kFiles; ++file) {
    const bool recent = source.owed != 0 && catalog.changed[file] > source.database.compare_after;
    const bool compare = recent && !Has(Flaw::kNoCompareAfter);
    const bool differs = catalog.cut == 0 || catalog.times[file] != source.live[file].times;
    if (compare || differs) stage.holds = With(stage.holds, file);
    if (In(stage.holds, file)) stage.files[file] = source.live[file];
  }
  source.phase = Phase::kFill;
  return true;
}

// A cut, and what it holds into the stage. Chunks travel with the Commit: it names their number and
// digest, and a stage that lacks one or has another is refused.
void ProtocolModel::Ship(State& state, uint8_t after) const {
  Source& source = state.source;
  const uint8_t cut = TakeCut(state, false);
  StageRequests& stage = state.stages[state.stage_count];
  const FileSet changed = ChangedAfter(source, after);
  stage.holds = static_cast<FileSet>(stage.holds | changed);
  stage.cut = cut;
  for (int file = 0; file < kFiles; ++file) {
    if (In(changed, file)) stage.files[file] = source.live[file];
  }
  source.phase = Has(Flaw::kReadLive) ? Phase::kRead : Phase::kCommit;
}

// What the sender's thread does next; false: it waits, or what it asked for is refused.
bool ProtocolModel::Converse(State& state) const {
  Source& source = state.source;
  if (source.late_hold != 0) {
    source.hold = source.late_hold;
    source.late_hold = 0;
    return true;
  }
  const bool waits = source.phase == Phase::kHello || source.phase == Phase::kBegin ||
                     source.phase == Phase::kCommit;
  if (waits && state.answered == 0) return false;
  state.answered = 0;
  switch (source.phase) {
    case Phase::kDown:
      ++state.hello_count;
      source.phase = Phase::kHello;
      return true;
    case Phase::kHello:
      TakeHelloReply(state);
      return true;
    case Phase::kReady: {
      const bool changes = NewestChange(source) > EpochOf(state, source.applied);
      if (source.increments != 0 && !changes) return false;
      state.stages[++state.stage_count] = {source.session, source.durable, 0, 0, {}};
      source.phase = Phase::kBegin;
      return true;
    }
    case Phase::kBegin:
      if (source.on_top != 0) {
        Ship(state, EpochOf(state, source.durable));
      } else if (source.increments == 0) {
        BeginWalk(state);
      } else {
        Ship(state, EpochOf(state, source.durable));
      }
      return true;
    case Phase::kWalk:
      return Walk(state);
    case Phase::kFill:
      Ship(state, source.after);
      return true;
    case Phase::kRead:
      for (int file = 0; file < kFiles; ++file) {
        StageRequests& stage = state.stages[state.stage_count];
        if (In(stage.holds, file)) stage.files[file] = source.live[file];
      }
      source.phase = Phase::kCommit;
      return true;
    case Phase::kCommit:
      source.durable = state.stages[state.stage_count].cut;  // a promise, though no status yet
      source.phase = source.on_top != 0 ? static_cast<Phase>(source.on_top) : Phase::kAwait;
      if (Has(Flaw::kDurableIsApplied)) {
        source.applied = source.durable;
        CheckSync(state);
      }
      return true;
    case Phase::kCatchUp:
    case Phase::kAwait:
      if (!MayShipOnTop(state)) return AskApplied(state);
      source.on_top = static_cast<uint8_t>(source.phase);
      state.stages[++state.stage_count] = {source.session, source.durable, 0, 0, {}};
      source.phase = Phase::kBegin;
      return true;
  }
  return false;
}

void ProtocolModel::SourceSteps(const State& state, std::vector<Step>& steps) const {
  constexpr std::array kNames = {"hello",        "take hello reply", "await what it had",
                                 "begin",        "take begin reply", "walk",
                                 "cut, commit",  "read live",        "take commit reply",
                                 "await applied"};
  State next = state;
  if (Converse(next)) {
    const bool within = next.hello_count <= bounds_.hellos && next.stage_count <= bounds_.stages &&
                        next.cut_count <= bounds_.cuts + 1;
    const char* name = kNames[static_cast<size_t>(state.source.phase)];
    if (within) steps.push_back({name, 0, next});
  }
  if (state.source.phase != Phase::kDown) {
    steps.push_back({"disconnect", 0, state});
    Disconnect(steps.back().state);
  }
}

}  // namespace tandem::test
