// A change set, kept in a file until it is complete: STORE/VOLUME/stage/ID.stage. Chunks are
// appended as they come, in any order. Once the commit record behind them is on stable storage, the
// stage will be redone after any crash; without a commit record it never happened.
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
// kind 1, first: what the stage is: volume (16), stage id (16), base epoch (8), base id (16).
// kind 2: a chunk: records, zstd-compressed if raw_size is not 0. Deltas have been resolved and
//   large content taken out, so the payload may differ from what was received. The digest covers
//   the checksums as received.
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
                                               const CutName& base);
  // Reads a stage file back. The result is committed. Returns kCorrupt if the file is no stage,
  // belongs to another volume, or has no complete commit record.
  static Result<std::shared_ptr<Stage>> Recover(int directory_fd, const std::string& name,
                                                VolumeId volume);
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
  const std::string& name() const { return name_; }

  // Marks a chunk as being taken. The constructor waits until no other copy of the chunk is being
  // taken. A thread has at most one at a time.
  class Taking {
   public:
    Taking(Stage& stage, uint64_t sequence);
    ~Taking();
    Taking(const Taking&) = delete;
    // Returns false if the stage has been removed meanwhile.
    bool possible() const { return possible_; }

   private:
    Stage& stage_;
    const uint64_t sequence_;
    const bool possible_;
  };

  // Returns the checksum, as received, of a chunk, or nullopt if the stage does not have it.
  std::optional<uint64_t> ReceivedChecksum(uint64_t sequence) const;
  StagedFiles& files() { return files_; }
  const StagedFiles& files() const { return files_; }
  // Appends a chunk. Does nothing if the stage has its sequence number already. After an error
  // nothing was added. `literal_bytes` is LiteralBytesIn of its records.
  Status Append(const ResolvedChunk& chunk, Outline outline, uint64_t literal_bytes = 0);
  // Returns the bytes of content that the records carry themselves.
  static uint64_t LiteralBytesIn(const std::vector<Record>& records);
  // Returns kProtocol unless the stage has exactly the chunks 0 to `chunk_count` - 1, and their
  // checksums match the digest.
  Status CheckComplete(uint64_t chunk_count, uint64_t digest) const;
  // Writes the commit record. The stage is on stable storage when this returns. If the sync fails,
  // the outcome is unknown until the next start. kProtocol (see CheckComplete) and an error of the
  // write (ENOSPC) mean that nothing was written.
  Status Commit(const CommitRecord& record);
  CommitRecord commit_record() const;

  uint64_t chunk_count() const;
  uint64_t file_bytes() const;
  // Returns the records of a chunk. Requires that the stage has `sequence`.
  Result<std::vector<Record>> Read(uint64_t sequence) const;
  // Returns the outlines in order of sequence. Requires that no Append runs while they are used.
  std::vector<const Outline*> Outlines() const;
  // Returns an upper bound of the content that the redo writes into the tree, without what comes as
  // files.
  uint64_t literal_bytes() const;
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
    Outline outline;
  };
  struct Header;

  Stage(int directory_fd, CutId id);
  bool BeginTaking(uint64_t sequence);
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
  Status ReadBack(VolumeId volume) REQUIRES(mutex_);
  Status ReadFrame(const Header& header, uint64_t offset) REQUIRES(mutex_);
  Status CheckCompleteLocked(uint64_t chunk_count, uint64_t digest) const REQUIRES(mutex_);
  // Returns an error context such as "read stage file ID.stage (cut short)".
  std::string Named(const char* what, const char* why = nullptr) const;

  const int directory_fd_;  // borrowed from the volume
  const CutId id_;
  const std::string name_;
  UniqueFd fd_;
  CutName base_;
  StagedFiles files_;

  mutable Mutex mutex_;
  CondVar taken_;
  std::set<uint64_t> taking_ GUARDED_BY(mutex_);
  bool removed_ GUARDED_BY(mutex_) = false;
  uint64_t end_ GUARDED_BY(mutex_) = 0;
  uint64_t literal_bytes_ GUARDED_BY(mutex_) = 0;
  bool holds_room_ GUARDED_BY(mutex_) = false;
  bool is_spare_ GUARDED_BY(mutex_) = false;
  std::map<uint64_t, Frame> frames_ GUARDED_BY(mutex_);
  std::optional<CommitRecord> commit_ GUARDED_BY(mutex_);
};

}  // namespace tandem::replica
