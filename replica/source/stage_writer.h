// Sends the records of one change set as numbered, compressed chunks, several of them in flight, as
// many as the link carries (pace.h).
//
// One thread.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "replica/source/cut_progress.h"
#include "replica/source/peer.h"
#include "replica/source/tuning.h"
#include "replica/wire/messages.h"

namespace tandem::replica {

class StageWriter {
 public:
  // Begins a stage on `base`, and counts in `progress` the content that has no answer yet. `peer`
  // and `progress` must outlive the writer. If `life` is not null, goes on with a stage that was
  // broken off in the same life of the source, if the replica has one; what is read from now on and
  // altered afterwards has a ctime that is no older than `since`.
  static Result<StageWriter> Begin(Peer& peer, ShipProgress& progress, const CutName& base,
                                   LifeId life = {},
                                   std::chrono::system_clock::time_point since = {});
  // Likewise, but asks the replica nothing: it is told with the first chunk, or, if there is only
  // one, with that and the commit in one message. Only if no stage can have been broken off.
  static StageWriter BeginLater(Peer& peer, ShipProgress& progress, const CutName& base,
                                LifeId life = {}, std::chrono::system_clock::time_point since = {});

  CutId stage() const { return stage_; }
  // How the stage was gone on with; nullopt: it is new.
  const std::optional<Resumed>& resumed() const { return resumed_; }

  // Asks the replica whether it has room for so many bytes. The error is the replica's.
  Status Expect(uint64_t bytes);
  Status Add(Record record);
  // Sends what has been added and waits until the replica has all of it.
  Status Flush();
  // Flushes and commits the stage. If the reply is kMissingObjects, more may be added and Commit
  // called again. A kOk may have waited until the cut was applied.
  Result<Reply> Commit(const CutName& cut, int64_t wall_time_ns);

  uint64_t records() const { return records_; }
  // Content of one record, at most, so that a chunk does not outgrow what the link carries.
  uint64_t most_content() const { return std::min<uint64_t>(kLiteralBytes, chunk_bytes()); }
  uint64_t most_compared() const {
    const uint64_t most = peer_->pace().delta_bytes();
    const uint64_t rate = bandwidth();
    return rate == 0 ? most : std::clamp<uint64_t>(InBlocks(rate), kLeastWindow, most);
  }

 private:
  struct InFlight {
    Peer::Pending answer;
    uint64_t content_bytes;
    size_t bytes;
    size_t under_way;  // with all that was in flight when it was sent
    Pace::Clock::time_point sent;
  };

  StageWriter(Peer& peer, ShipProgress& progress, const CutName& base, LifeId life,
              std::chrono::system_clock::time_point since);
  Status EnsureBegun();
  void CountContent(const Record& record);
  // Where a chunk ends: several are sent in a second, however slowly that may be.
  size_t chunk_bytes() const {
    const size_t most = peer_->pace().chunk_bytes();
    const uint64_t rate = bandwidth();
    return rate == 0 ? most
                     : std::clamp<size_t>(InBlocks(rate / kChunksASecond), kLeastChunkBytes, most);
  }
  // Pieces of files begin at a block.
  static uint64_t InBlocks(uint64_t bytes) { return bytes / kCompareBlock * kCompareBlock; }
  // Bytes a second; 0: no limit.
  uint64_t bandwidth() const { return peer_->limit() == nullptr ? 0 : peer_->limit()->rate(); }
  Status AwaitBandwidth(size_t bytes) {
    return peer_->limit() == nullptr ? Status() : peer_->limit()->Take(bytes);
  }
  Chunk TakeChunk();
  void NoteTaken(uint64_t content_bytes);
  Result<Reply> SendIncrement(replica::Commit commit);
  Result<Reply> AskAgainUntilAnswered(const RequestBody& commit);
  uint64_t chunk_count() const { return (resumed_ ? resumed_->chunks : 0) + checksums_.size(); }
  Status SendChunk();
  Status WaitForOldest();

  Peer* peer_;
  ShipProgress* progress_;
  CutId stage_;
  CutName base_;
  LifeId life_;
  int64_t begun_ns_;
  bool begun_ = false;
  std::optional<Resumed> resumed_;
  std::vector<Record> pending_;
  size_t pending_bytes_ = 0;
  uint64_t pending_copied_ = 0;
  uint64_t pending_content_bytes_ = 0;
  std::deque<InFlight> in_flight_;
  size_t in_flight_bytes_ = 0;
  std::vector<uint64_t> checksums_;  // of the chunks that were sent here
  uint64_t records_ = 0;
};

}  // namespace tandem::replica
