// The source of the model: capture, cuts, drops and crashes.
#include "tests/unit/protocol_model.h"

#include <algorithm>

namespace tandem::test {
namespace {

uint8_t NewestCut(const State& state) {
  uint8_t newest = 0;
  for (uint8_t cut = 1; cut <= state.cut_count; ++cut) {
    const bool newer = EpochOf(state, cut) > EpochOf(state, newest);
    if (Knows(state.source.database, cut) && newer) newest = cut;
  }
  return newest;
}

void DropRows(Database& database, uint8_t epoch) {
  for (uint8_t& row : database.dirty) row = row <= epoch ? 0 : row;
}

}  // namespace

bool Knows(const Database& database, uint8_t cut) {
  return cut != 0 && (database.cuts >> cut & 1) != 0;
}

uint8_t NewestChange(const Source& source) {
  return source.open != 0 ? source.open_epoch : source.newest_layer;
}

FileSet ChangedAfter(const Source& source, uint8_t epoch) {
  FileSet changed = 0;
  for (int file = 0; file < kFiles; ++file) {
    if (source.changed[file] > epoch) changed = With(changed, file);
  }
  return changed;
}

// ---- Capture and cuts --------------------------------------------------------------------------

// Marking, changing and recording are one step: a crash between them leaves a mark too many, which
// the one after them does as well. The mark of an overwrite is fsynced, and with it all before;
// what is appended needs no such mark, for it is there only if the size says so.
void ProtocolModel::Write(State& state, int file) const {
  Source& source = state.source;
  if (!Has(Flaw::kNoMark) && !In(source.database.hot, file)) {
    source.database.hot = With(source.database.hot, file);
    if (file == kOverwritten) source.synced_database = source.database;
  }
  const auto number = static_cast<uint8_t>(++state.writes + 1);
  source.live[file] = {number, number};
  source.open = With(source.open, file);
}

// Freezing and storing are one step: a cut that is not stored has been told to nobody.
uint8_t ProtocolModel::TakeCut(State& state, bool fresh) const {
  Source& source = state.source;
  const uint8_t newest = NewestCut(state);
  if (!fresh && source.open == 0 && newest != 0 && source.newest_layer <= EpochOf(state, newest)) {
    return newest;
  }
  uint8_t cut = source.reuse;
  if (cut == 0) {
    cut = ++state.cut_count;
    state.cuts[cut] = {source.open_epoch, source.live};
  }
  for (int file = 0; file < kFiles; ++file) {
    if (In(source.open, file)) source.changed[file] = source.open_epoch;
  }
  source.reuse = 0;
  source.open = 0;
  source.newest_layer = source.open_epoch++;
  source.database.cuts = static_cast<uint16_t>(source.database.cuts | 1 << cut);
  return cut;
}

// Retention::Drop and Tracker::DropThrough; in one step, as what else looks at the cuts has its
// hold first, and that waits.
void ProtocolModel::Drop(State& state) const {
  Source& source = state.source;
  if (source.hold == 0) (void)TakeCut(state, false);
  uint8_t epoch = static_cast<uint8_t>(source.open_epoch - 1);
  if (source.hold != 0) epoch = std::min(epoch, static_cast<uint8_t>(source.hold - 1));
  const uint8_t newest = EpochOf(state, NewestCut(state));
  if (newest < epoch) return;
  for (uint8_t cut = 1; cut <= state.cut_count; ++cut) {
    const bool old = EpochOf(state, cut) < epoch;
    if (old) source.database.cuts = static_cast<uint16_t>(source.database.cuts & ~(1 << cut));
  }
  if (Has(Flaw::kDropUnapplied)) epoch = newest;
  DropRows(source.database, std::min(epoch, source.synced));
  source.dropped = std::max(source.dropped, epoch);
  for (uint8_t& layer : source.changed) layer = layer <= epoch ? 0 : layer;
  if (source.newest_layer <= epoch) source.newest_layer = 0;
}

// The next run begins where the one before ends: in between the replica does nothing that it
// could not do before or after.
void ProtocolModel::Recover(State& state) const {
  Source& source = state.source;
  Database& database = source.database;
  Source next;
  next.live = source.live;
  next.synced_files = source.synced_files;
  next.changed = database.dirty;
  next.newest_layer = *std::max_element(next.changed.begin(), next.changed.end());
  next.open_epoch =
      static_cast<uint8_t>(std::max(EpochOf(state, NewestCut(state)), next.newest_layer) + 1);
  next.open = database.hot;
  for (int file = 0; file < kFiles; ++file) {
    if (In(database.hot, file)) database.dirty[file] = next.open_epoch;
  }
  database.hot = 0;
  next.applied = database.applied;
  next.owed = database.owed;
  if (Knows(database, next.applied)) next.hold = HoldAfter(EpochOf(state, next.applied));
  if (next.owed != 0 && !Has(Flaw::kDropWhileOwed)) next.hold = kHoldAll;
  next.database = database;
  next.synced_database = source.synced_database;
  source = next;
  state.answered = 0;
}

void ProtocolModel::BackgroundSteps(const State& state, std::vector<Step>& steps) const {
  const auto add = [&](const char* move, int which, const State& next) {
    if (next.cut_count <= bounds_.cuts + 1) steps.push_back({move, which, next});
  };
  for (int file = 0; file < kFiles && state.writes < bounds_.writes; ++file) {
    State next = state;
    Write(next, file);
    add("write file", file, next);
  }
  State dropped = state;
  Drop(dropped);
  add("drop", 0, dropped);
  const bool may_crash = state.source_kills < bounds_.source_kills ||
                         state.source_power_cuts < bounds_.source_power_cuts;
  if (!may_crash) return;  // what follows is for the next run alone
  if (state.source.unrecorded != 0) {
    State next = state;
    next.source.database.applied = next.source.unrecorded;
    next.source.database.owed = 0;
    next.source.unrecorded = 0;
    add("remember position", 0, next);
  }
  State synced = state;
  Source& source = synced.source;
  source.synced_files = source.live;
  if (const uint8_t newest = EpochOf(state, NewestCut(state)); newest > source.synced) {
    source.synced = source.database.synced = newest;
    DropRows(source.database, std::min(source.dropped, newest));
  }
  add("sync source", 0, synced);
  for (int file = 0; file < kFiles; ++file) {
    const bool untouched = state.source.live[file] == state.source.synced_files[file];
    if (!In(state.source.database.hot, file)) continue;
    if (!untouched && !Has(Flaw::kCoolUnsynced)) continue;
    State next = state;
    Database& database = next.source.database;
    const bool is_open = In(next.source.open, file);
    database.dirty[file] = is_open ? next.source.open_epoch : next.source.changed[file];
    database.hot = static_cast<FileSet>(database.hot & ~(1 << file));
    add("cool file", file, next);
  }
}

void ProtocolModel::SourceCrashes(const State& state, std::vector<Step>& steps) const {
  if (state.source_kills < bounds_.source_kills) {
    State next = state;
    ++next.source_kills;
    Recover(next);
    steps.push_back({"kill source", 0, next});
  }
  if (state.source_power_cuts >= bounds_.source_power_cuts) return;
  // Of each file the content and the times, and the newest of the database, may be lost.
  for (int lost = 0; lost < 1 << (2 * kFiles + 1); ++lost) {
    State next = state;
    ++next.source_power_cuts;
    Source& source = next.source;
    for (int file = 0; file < kFiles; ++file) {
      const File& synced = source.synced_files[file];
      const bool times = In(static_cast<FileSet>(lost), 2 * file + 1);
      const bool content = In(static_cast<FileSet>(lost), 2 * file);
      if (times) source.live[file].times = synced.times;
      if (content || (times && file == kAppended)) source.live[file].content = synced.content;
    }
    if (In(static_cast<FileSet>(lost), 2 * kFiles)) source.database = source.synced_database;
    source.synced_files = source.live;
    Database& database = source.database;
    if (!Has(Flaw::kOwesNothing)) {
      const uint8_t before = database.owed != 0 ? database.compare_after : database.synced;
      database.compare_after = std::min(before, database.synced);
      database.owed = 1;
    }
    source.synced_database = database;
    Recover(next);
    source.synced_database = source.database;
    steps.push_back({"cut power of source, losing", lost, next});
  }
}

}  // namespace tandem::test
