// A change set, kept in a file until it is complete: STORE/VOLUME/stage/ID.stage. Chunks are
// appended as they come, in any order. Once the commit record behind them is on stable storage, the
// stage will be redone after any crash; without a commit record it never happened.
//
// A stage that is broken off before its commit can be gone on with, by the same source or after a
// restart of either side, as long as neither disk has lost anything (StageOrigin). Chunks that do
// not form a whole beginning are cut off, and of the others the names count no more: the source
// reads its directories again.
//
// Large content is beside it, in files of its own (replica/apply/staged_files.h). If the disk is
// full, one of the files stage/spare.N becomes the stage file, so that a small stage can always be
// written; it becomes spare again when the stage is removed. If there is little room, the room that
// the redo will take is held beside the stage, as ID.room, until then.
//
// Any thread may take chunks and query the stage. Commit, Recover and Remove are called by one
// thread at a time.
//
// Format: frames, each a header of 56 bytes and a payload. All numbers are little endian:
//   magic "TFS1" (4) | kind (4) | sequence (8) | raw_size (8) | payload size (8)
//   | checksum as received (8) | checksum of the payload (8) | checksum of these 48 bytes (8)
// kind 1, first: what the stage is: volume (16), stage id (16), base epoch (8), base id (16), life
//   of the source (16), when it began to read in ns (8), life of the store (16). The last three
//   are absent if the source names no life.
// kind 2: a chunk: records, zstd-compressed if raw_size is not 0. Deltas have been resolved and
//   large content taken out, so the payload may differ from what was received. The digest covers
//   the checksums as received.
// kind 4: gone on with here: `sequence` chunks came before, whose entries do not count, nor what
// they
//   have of objects without a later record that says so (ObjectRecord::again). The digest covers
//   the chunks after the last such frame.
// kind 3, last: the commit record: cut epoch (8), cut id (16), wall time in ns (8), number of
//   chunks (8), digest (8).
// Checksums are XXH3-64. The first bad frame, and anything behind it, counts as never written.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "meta/base/mutex.h"
#include "meta/base/result.h"
#include "meta/base/unique_fd.h"
#include "replica/apply/staged_files.h"
#include "replica/wire/messages.h"
#include "replica/wire/outline.h"

namespace tandem::replica {

struct CommitRecord {
  CutName cut;
  int64_t wall_time_ns = 0;
  uint64_t chunk_count = 0;
  uint64_t digest = 0;
};

// Whose content a stage holds: both as they were when it was begun. A stage is gone on with only if
// both lives last. A null source: never.
struct StageOrigin {
  LifeId source;
  int64_t begun_ns = 0;  // by the source's clock
  LifeId store;
};

// The content of a chunk, or of a stage.
struct StagedContent {
  uint64_t literal = 0;  // bytes that the records carry themselves
  uint64_t staged = 0;   // bytes in staged files
  uint64_t bytes() const { return literal + staged; }
};

// A chunk as the stage stores it: without deltas.
struct ResolvedChunk {
  uint64_t sequence = 0;
  uint64_t raw_size = 0;
  uint64_t received_checksum = 0;
  std::string payload;
};

class Stage {
 public:
  static Result<std::shared_ptr<Stage>> Create(int directory_fd, VolumeId volume, CutId id,
                                               const CutName& base, const StageOrigin& origin = {});
  // Reads a stage file back. The result is committed. Returns kCorrupt if the file is no stage,
  // belongs to another volume, or has no complete commit record.
  static Result<std::shared_ptr<Stage>> Recover(int directory_fd, const std::string& name,
                                                VolumeId volume);
  // Reads a stage back that has no commit record. It takes no chunks before Resume. Returns
  // kCorrupt if it cannot be gone on with while the store's life is `store`.
  static Result<std::shared_ptr<Stage>> RecoverOpen(int directory_fd, const std::string& name,
                                                    VolumeId volume, LifeId store);
  static bool IsStageName(std::string_view name);
  // Makes the missing spare files.
  static Status MakeSpares(int directory_fd);
  // Zeroes spare files that a crash left filled, because their frames must not be taken for a later
  // stage's. Called at a start.
  static Status ClearSpares(int directory_fd);
  // Removes the file of a stage that was not committed, or is no longer needed.
  static Status RemoveFile(int directory_fd, const std::string& name);
  static constexpr char kRoomSuffix[] = ".room";

  CutId id() const { return id_; }
  const CutName& base() const { return base_; }
  const StageOrigin& origin() const { return origin_; }
  const std::string& name() const { return name_; }

  // Marks a chunk as being taken. The constructor waits until no other copy of the chunk is being
  // taken. A thread has at most one at a time. `attempt` names the Begin that the chunk follows.
  class Taking {
   public:
    Taking(Stage& stage, CutId attempt, uint64_t sequence);
    ~Taking();
    Taking(const Taking&) = delete;
    // Returns false if the stage has been removed meanwhile, or is gone on with by another attempt.
    bool possible() const { return possible_; }

   private:
    Stage& stage_;
    const uint64_t sequence_;
    const bool possible_;
  };

  // Waits until no chunk is being taken, and takes no more of the attempts before. The attempt that
  // made the stage is called by the stage's own id.
  void Park();
  // Parks the stage and goes on with it: chunks of `attempt` follow the ones whose number is
  // returned. Returns nullopt if that is not possible, and the stage is of no use any more.
  Result<std::optional<uint64_t>> Resume(CutId attempt);

  // Returns the checksum, as received, of a chunk, or nullopt if the stage does not have it.
  std::optional<uint64_t> ReceivedChecksum(uint64_t sequence) const;
  StagedFiles& files() { return files_; }
  const StagedFiles& files() const { return files_; }
  // Appends a chunk. Does nothing if the stage has its sequence number already. After an error
  // nothing was added. `content` is ContentIn of its records.
  Status Append(const ResolvedChunk& chunk, Outline outline, const StagedContent& content = {});
  static StagedContent ContentIn(const std::vector<Record>& records);
  // Returns the content of all chunks.
  StagedContent content() const;
  // Returns kProtocol unless the stage has exactly the chunks 0 to `chunk_count` - 1, and the
  // checksums of those that came since it was last gone on with match the digest.
  Status CheckComplete(uint64_t chunk_count, uint64_t digest) const;
  // Writes the commit record. The stage is on stable storage when this returns. If the sync fails,
  // the outcome is unknown until the next start. kProtocol (see CheckComplete) and an error of the
  // write (ENOSPC) mean that nothing was written.
  Status Commit(const CommitRecord& record);
  CommitRecord commit_record() const;

  uint64_t chunk_count() const;
  // Returns, for each time the stage was gone on with, the first chunk that came then.
  std::vector<uint64_t> resumed_at() const;
  uint64_t file_bytes() const;
  // Returns the records of a chunk. Requires that the stage has `sequence`.
  Result<std::vector<Record>> Read(uint64_t sequence) const;
  // Returns the outlines in order of sequence. Requires that no Append runs while they are used.
  std::vector<const Outline*> Outlines() const;
  // Claims room for the redo, until ReleaseRoom. Returns ENOSPC or EDQUOT if there is less room.
  // Best effort if the filesystem cannot preallocate.
  Status HoldRoom(uint64_t bytes);
  void ReleaseRoom();
  // Removes the stage and its files. Waits until no chunk is being taken.
  Status Remove();

 private:
  struct Frame {
    uint64_t offset = 0;  // of the payload
    uint64_t size = 0;
    uint64_t raw_size = 0;
    uint64_t received_checksum = 0;
    uint64_t checksum = 0;
    StagedContent content;
    Outline outline;
  };
  struct Header;

  Stage(int directory_fd, CutId id);
  bool BeginTaking(CutId attempt, uint64_t sequence);
  void ParkLocked(CutId next_attempt) REQUIRES(mutex_);
  // Returns how many chunks form a whole beginning of the file, and where it ends.
  std::pair<uint64_t, uint64_t> WholeBeginning() const REQUIRES(mutex_);
  void ForgetEntries() REQUIRES(mutex_);
  uint64_t LastResumedAt() const REQUIRES(mutex_) {
    return resumed_at_.empty() ? 0 : resumed_at_.back();
  }
  // Replaces the stage's file by a spare file. Returns ENOSPC if there is none, or `bytes` do not
  // fit.
  Status TakeSpare(uint64_t bytes) REQUIRES(mutex_);
  Status WriteFrameHere(const Header& header, std::string_view payload) REQUIRES(mutex_);
  // Turns the file into a spare file if it is large enough and one is missing. Returns false
  // otherwise.
  static bool GiveSpareBack(int directory_fd, const std::string& name);
  Status WriteFrame(const Header& header, std::string_view payload) REQUIRES(mutex_);
  Result<std::optional<Header>> ReadHeader(uint64_t offset) const;
  Result<std::string> ReadPayload(uint64_t offset, uint64_t size, uint64_t checksum) const;
  static Result<std::shared_ptr<Stage>> OpenFile(int directory_fd, const std::string& name);
  // Reads frames up to the commit record, or the first that is not good.
  Status ReadFrames(VolumeId volume, bool note_files) REQUIRES(mutex_);
  Status ReadFrame(const Header& header, uint64_t payload_at, const std::string& payload,
                   bool note_files) REQUIRES(mutex_);
  Status ReadBegin(std::string_view payload) REQUIRES(mutex_);
  Status ReadChunk(const Header& header, uint64_t payload_at, const std::string& payload,
                   bool note_files) REQUIRES(mutex_);
  Status ReadCommit(std::string_view payload) REQUIRES(mutex_);
  Status CheckCompleteLocked(uint64_t chunk_count, uint64_t digest) const REQUIRES(mutex_);
  // Returns an error context such as "read stage file ID.stage (cut short)".
  std::string Named(const char* what, const char* why = nullptr) const;

  const int directory_fd_;  // borrowed from the volume
  const CutId id_;
  const std::string name_;
  UniqueFd fd_;
  CutName base_;
  StageOrigin origin_;
  StagedFiles files_;

  mutable Mutex mutex_;
  CondVar taken_;
  std::set<uint64_t> taking_ GUARDED_BY(mutex_);
  bool removed_ GUARDED_BY(mutex_) = false;
  CutId attempt_ GUARDED_BY(mutex_);  // whose chunks are taken
  uint64_t end_ GUARDED_BY(mutex_) = 0;
  std::vector<uint64_t> resumed_at_ GUARDED_BY(mutex_);
  // Where the first frame of a chunk may begin that came since.
  uint64_t resumed_end_ GUARDED_BY(mutex_) = 0;
  bool holds_room_ GUARDED_BY(mutex_) = false;
  bool is_spare_ GUARDED_BY(mutex_) = false;
  std::map<uint64_t, Frame> frames_ GUARDED_BY(mutex_);
  std::optional<CommitRecord> commit_ GUARDED_BY(mutex_);
};

}  // namespace tandem::replica
