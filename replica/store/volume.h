// One volume of a store: STORE/NAME. Takes the requests of the one source that may write it, keeps
// its stages, redoes them, and says where it stands. See replica/PROTOCOL.md for what each request
// means if it is lost or repeated, replica/STORE.md for what is on disk.
//
// Its parts, each in a header of its own, and the requests they answer:
//   VolumePlace    the directories on disk, and what the volume is called
//   VolumeReport   what a Position says beside the cuts: notices, objects that fall short
//   WriteSession   which source may write: sessions (Hello)
//   ApplyQueue     the cuts and stages between durable and kept, and what blocks them (WaitApplied)
//   KeptCatalog    the catalog, and how it gets to stable storage
//   ContentFinder  which content is here already (FindContent)
//   Applier        the threads that redo what the queue holds, and keep what was applied
//   ReplicaReader  what reads: List, Find, GetSignature, GetDigests; deltas
//   StageTaker     what writes: Begin, Chunk, Commit, and all of these at once: Increment
//   Scrubber       compares the tree with what was applied; one for each scrub
// StartVolume (volume_start.h) brings them to where a crash has left the volume.
//
// Order of locks, outermost first. A thread that holds one may take those below it:
//   1. StageTaker    Begin, Commit and Hello, one at a time
//   2. KeptCatalog   held by a redo from beginning to end
//   3. ApplyQueue
//   4. WriteSession, VolumeReport, StageSlot, and the one for syncs in KeptCatalog; and those of
//      replica/apply: Stage, ForeignEdits, TreeMounts. Nothing is taken below these.
// The other parts have no lock. A RedoPause waits for a redo, which holds 2: it is begun
// before 2 is taken.
//
// Any thread may call Greet and Handle, and they may wait.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "meta/base/result.h"
#include "meta/base/unique_fd.h"
#include "replica/apply/marker.h"
#include "replica/store/applier.h"
#include "replica/store/apply_queue.h"
#include "replica/store/content_finder.h"
#include "replica/store/kept_catalog.h"
#include "replica/store/replica_reader.h"
#include "replica/store/scrubber.h"
#include "replica/store/stage_taker.h"
#include "replica/store/volume_place.h"
#include "replica/store/volume_report.h"
#include "replica/store/write_session.h"
#include "replica/wire/messages.h"

namespace tandem::replica {

class Volume {
 public:
  // `path` is STORE/NAME, and `fd` is open on it. Finishes or discards what a crash has left: a
  // committed stage is redone in the background.
  static Result<std::unique_ptr<Volume>> Open(UniqueFd fd, const std::string& path,
                                              const VolumeIdentity& identity,
                                              VolumeTerms terms = {});
  // Makes what Open expects in an empty directory, durably.
  static Status Prepare(int fd, const VolumeIdentity& identity);
  // Ends waiting requests and the redo under way, which the next start finishes.
  void Stop() { queue_.Stop(); }

  // Returns whether every cut is applied and kept, so that the volume can be closed at once.
  bool HasNothingToDo() { return queue_.IsAtRest(); }
  // Returns whether the connection of the source that may write is open.
  bool IsConnected() { return session_.IsConnected(); }
  // Returns whether a stage is open, which is lost when the volume is closed.
  bool HasStage() { return taker_.HasStage(); }

  // Returns a scrub of this volume, to be run by the caller, which keeps the volume meanwhile. One
  // at a time.
  std::unique_ptr<Scrubber> NewScrub(const ScrubOptions& options);
  // Returns when the last scrub ended, in seconds since 1970, or nullopt if none has.
  Result<std::optional<int64_t>> ScrubbedAt();
  // Returns when the volume was made, in seconds since 1970.
  int64_t MadeAt() const;

  const VolumeIdentity& identity() const { return place_->identity(); }
  // What a redo may set in the tree from now on; lasts over restarts (volume_policy.h). To be
  // called before a session that writes is opened. Waits for a redo under way if it changes.
  Status SetPolicy(const VolumePolicy& policy) { return catalog_.SetPolicy(policy); }
  // Answers Hello: opens a session. The one before, and its stage, end.
  // `peer`: its identity (rights.h), which distinguishes sources like their run ids.
  Reply Greet(const Hello& hello, const ConnectionRef& connection, const std::string& peer = {});
  // Answers all other requests.
  Reply Handle(const Request& request, const ConnectionRef& connection);

 private:
  explicit Volume(std::unique_ptr<VolumePlace> place);
  Reply Dispatch(const Request& request);
  Reply Take(const Increment& increment, SessionId session);

  // Each borrows from those above it.
  const std::unique_ptr<VolumePlace> place_;
  VolumeReport report_;
  WriteSession session_;
  ApplyQueue queue_;
  KeptCatalog catalog_;
  ContentFinder finder_;
  Applier applier_;
  ReplicaReader reader_;
  StageTaker taker_;
};

}  // namespace tandem::replica
