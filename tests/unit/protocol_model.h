// A model of the protocol of cuts, acknowledgements, drops and reconnects, small enough to look at
// every state it can get into: what replica/source/sender.cc, replica/source/retention.h,
// meta/capture/epochs.cc, meta/capture/cooling.cc and meta/capture/recovery.cc do on one side and
// replica/store/volume*.cc and replica/apply/redo.cc on the other. It mirrors the code, step by
// step; see replica/PROTOCOL.md, "Model".
//
// The world: two files, one overwritten and one appended to, each of a content and of times (all
// attributes), numbered by the write that made them; one replica; a network that may deliver
// whatever was ever sent again, or never.
//
// Plain values: no thread rules.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

namespace tandem::test {

inline constexpr int kFiles = 2;
inline constexpr int kOverwritten = 0;  // in place
inline constexpr int kAppended = 1;
inline constexpr int kMaxCuts = 10;   // ids; 0: no cut
inline constexpr int kMaxStages = 8;  // ids; 0: no stage

// Guards of the protocol that can be left out, to see that it is noticed. kDropWhileOwed and
// kInStepWhileOwed are what the code did when the model was written; the model found them.
enum class Flaw : uint8_t {
  kNone,
  kNoMark,              // a change is not marked before it is made
  kCoolUnsynced,        // a mark cools although no sync covers the change
  kDropUnapplied,       // rows are dropped up to the newest cut, whoever has it
  kDropWhileOwed,       // rows are dropped while a reconcile that needs them is owed
  kAskBeforeHold,       // "do we know the cut?" is asked before what follows it is held
  kOwesNothing,         // a power cut of the source is taken for a kill
  kNoCompareAfter,      // a reconcile trusts the times of what the replica changed lately
  kNoSuspects,          // a reconcile does not look at what hot and dirty rows say
  kWalkInOldCut,        // a reconcile does not begin with a cut of its own
  kNoAdvance,           // epochs are numbered anew below the replica's
  kReadLive,            // a frozen cut does not preserve
  kReuseCut,            // a commit without an answer is taken to have failed, its name used again
  kDurableIsApplied,    // the answer to a commit is taken for more than it says
  kInStepWhileOwed,     // the replica counts as in step although a reconcile is owed
  kCommitUnchecked,     // a commit is taken whatever its base, and whether its stage is open
  kCommitUnsynced,      // a commit is acknowledged before it is on stable storage
  kStagesRemovedEarly,  // before a sync covers what came of them
  kCatalogBeforeTree,   // the catalog is kept without a sync of the tree
  kMarkerLate,          // redo does not say that it has begun
  kMarkerEarly,         // redo says that it is done when it begins
  kStagesForgotten,     // a start does not redo what is committed
  kRedoSingly,          // after a crash stages are redone one by one
  kOnTopUnlocked,       // what comes on top of a blocked cut is taken in while a redo runs
  kBlockedIsReplaced,   // a blocked cut's stage goes when the one on top is taken
};

// How much may happen in one history.
struct Bounds {
  bool seeded = true;  // the replica has the first cut when it begins
  int writes = 0;
  int cuts = 0;    // besides the first
  int stages = 0;  // begun by the source
  int hellos = 0;  // sent by the source; the network may repeat them without end
  int source_kills = 0;
  int source_power_cuts = 0;
  int replica_kills = 0;
  int replica_power_cuts = 0;
  int blocks = 0;  // a redo that finds no room
};

struct File {
  uint8_t content = 0;
  uint8_t times = 0;
  friend bool operator==(const File&, const File&) = default;
};
using Files = std::array<File, kFiles>;
using FileSet = uint8_t;  // bits

// What the model remembers of the source at a cut, for good: nobody in the model may look at
// `files`.
struct Cut {
  uint8_t epoch = 0;
  Files files = {};
};

// All that the network may deliver of a stage, at any time.
struct StageRequests {
  uint8_t session = 0;
  uint8_t base = 0;
  uint8_t cut = 0;  // 0: no Commit was sent
  FileSet holds = 0;
  Files files = {};
};

struct Database {  // state.db
  uint16_t cuts = 0;
  FileSet hot = 0;
  std::array<uint8_t, kFiles> dirty = {};  // the epoch of the newest row; 0: none
  uint8_t synced = 0;
  uint8_t owed = 0;
  uint8_t compare_after = 0;
  uint8_t applied = 0;
  uint8_t unused = 0;
};

enum class Phase : uint8_t {
  kDown,
  kHello,    // sent
  kCatchUp,  // the replica applies what it had
  kReady,
  kBegin,  // sent
  kWalk,
  kFill,
  kRead,    // only with kReadLive
  kCommit,  // sent
  kAwait,
};

struct Source {
  Files live = {};
  Files synced_files = {};  // at the last sync
  Database database = {};
  Database synced_database = {};
  // Memory.
  std::array<uint8_t, kFiles> changed = {};  // the newest layer that has it; 0: none
  FileSet open = 0;
  uint8_t open_epoch = 0;
  uint8_t newest_layer = 0;  // an empty one counts
  uint8_t synced = 0;
  uint8_t dropped = 0;
  uint8_t hold = 0;  // epoch + 1; 0: none
  Phase phase = Phase::kDown;
  uint8_t session = 0;
  uint8_t durable = 0;  // as last heard
  uint8_t applied = 0;
  uint8_t increments = 0;
  uint8_t owed = 0;
  uint8_t unrecorded = 0;  // the applied cut that Remember has not written yet
  uint8_t after = 0;       // the epoch of the cut that began a reconcile
  uint8_t reuse = 0;       // only with kReuseCut
  uint8_t late_hold = 0;   // only with kAskBeforeHold
  uint8_t on_top = 0;      // the phase it goes back to after a cut on top of a blocked one; 0: none
  uint8_t unused = 0;
};

struct Catalog {  // replica.db
  uint8_t cut = 0;
  std::array<uint8_t, kFiles> times = {};
  std::array<uint8_t, kFiles> changed = {};
};

struct Replica {
  Files tree = {};
  Files synced_tree = {};
  Catalog catalog = {};
  Catalog kept_catalog = {};
  uint8_t committed = 0;  // stages on disk
  uint8_t marker_cut = 0;
  uint8_t marker_applied = 0;
  uint8_t marker_of_this_boot = 0;
  uint8_t has_applied = 0;  // the newest epoch it ever has; nobody in the model may look at it
  // Memory.
  uint8_t session = 0;  // the source's, or 0: one nobody knows
  uint8_t open = 0;
  uint8_t closed = 0;  // stages
  uint8_t durable = 0;
  uint8_t applied = 0;
  uint8_t redo = 0;
  uint8_t blocked = 0;  // its last attempt found no room
};

struct State {
  std::array<Cut, kMaxCuts> cuts = {};
  std::array<StageRequests, kMaxStages> stages = {};
  Source source = {};
  Replica replica = {};
  uint8_t cut_count = 0;
  uint8_t stage_count = 0;
  uint8_t hello_count = 0;
  uint8_t writes = 0;
  uint8_t source_kills = 0;
  uint8_t source_power_cuts = 0;
  uint8_t replica_kills = 0;
  uint8_t replica_power_cuts = 0;
  // The answer on its way to the request the source waits for. All other answers it refuses.
  uint8_t answered = 0;
  uint8_t answer_durable = 0;
  uint8_t answer_applied = 0;
  uint8_t broken = 0;  // a Truth that a transition found broken
  uint8_t blocks = 0;
  uint8_t unused = 0;
};
static_assert(std::has_unique_object_representations_v<State>);  // so its bytes can be hashed

// What must hold. kNone: it does.
enum class Truth : uint8_t {
  kNone,
  kTreeIsCut,      // what the marker calls a cut is what the source was at that cut
  kAckStands,      // a cut acknowledged as durable stays so, as applied has at least been durable
  kSyncIsTrue,     // when sync says yes, the replica is what the source is
  kComesToRest,    // left alone, source and replica end at rest
  kNothingIsLost,  // and then they are equal
};
const char* NameOf(Truth truth);

struct Step {
  const char* move;
  int which;
  State state;
};

class ProtocolModel {
 public:
  ProtocolModel(Bounds bounds, Flaw flaw) : bounds_(bounds), flaw_(flaw) {}

  State First() const;
  // Everything that may happen next, always in the same order.
  void Next(const State& state, std::vector<Step>& steps) const;
  // The first truth that does not hold.
  Truth Broken(const State& state) const;

 private:
  bool Has(Flaw flaw) const { return flaw_ == flaw; }
  Truth Rest(State state) const;

  // The source (protocol_model.cc).
  void BackgroundSteps(const State& state, std::vector<Step>& steps) const;
  void SourceCrashes(const State& state, std::vector<Step>& steps) const;
  uint8_t TakeCut(State& state, bool fresh) const;
  void Write(State& state, int file) const;
  void Drop(State& state) const;
  void Recover(State& state) const;

  // Its conversation (protocol_model_sender.cc).
  void SourceSteps(const State& state, std::vector<Step>& steps) const;
  bool Converse(State& state) const;
  void TakeHelloReply(State& state) const;
  bool AskApplied(State& state) const;
  void BeginWalk(State& state) const;
  bool Walk(State& state) const;
  void Ship(State& state, uint8_t after) const;
  void Release(State& state) const;
  void Disconnect(State& state) const;
  void CheckSync(State& state) const;
  bool MayShipOnTop(const State& state) const;

  // The replica (protocol_model_replica.cc).
  void ReplicaSteps(const State& state, std::vector<Step>& steps) const;
  void ReplicaCrashes(const State& state, std::vector<Step>& steps) const;
  void TakeHello(State& state, bool answered) const;
  bool TakeBegin(State& state, int stage) const;
  bool TakeCommit(State& state, int stage) const;
  bool Redo(State& state, int first_file) const;
  void Keep(State& state) const;
  void RemoveStages(State& state) const;
  void LoseTransaction(State& state) const;
  void Start(State& state) const;
  uint8_t Pending(const State& state) const;
  bool Reads(const State& state) const;
  bool TakesOnTop(const State& state) const;

  const Bounds bounds_;
  const Flaw flaw_;
};

inline uint8_t EpochOf(const State& state, uint8_t cut) { return state.cuts[cut].epoch; }
inline bool In(FileSet set, int file) { return (set >> file & 1) != 0; }
inline FileSet With(FileSet set, int file) { return static_cast<FileSet>(set | 1 << file); }

// Of the state database.
bool Knows(const Database& database, uint8_t cut);
// Of the tracker, in memory.
uint8_t NewestChange(const Source& source);
FileSet ChangedAfter(const Source& source, uint8_t epoch);

inline constexpr uint8_t kHoldAll = 1;  // Source::hold: everything after epoch 0
inline uint8_t HoldAfter(uint8_t epoch) { return static_cast<uint8_t>(epoch + 1); }

}  // namespace tandem::test
