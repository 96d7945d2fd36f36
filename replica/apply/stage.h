// One change set, set aside in a file until it is whole: STORE/VOLUME/stage/ID.stage. Chunks are
// appended as they come, in any order; the commit record behind them, once on disk, makes the stage
// a promise: it will be redone after any crash. Without one it never happened.
//
// Large content stands beside it in files of its own (replica/apply/staged_files.h). Where the disk
// is full, one of the files stage/spare.N becomes the stage's, so that a small one can always be
// written; it is spare again when the stage goes. The room that its redo will take stands beside it
// until then, as ID.room, if there is little.
//
// Any thread may take chunks and ask; Commit, Recover and Remove are for one at a time.
//
// Format: frames, each a header of 56 bytes and a payload. All numbers little endian:
//   magic "TFS1" (4) | kind (4) | sequence (8) | raw_size (8) | payload size (8)
//   | checksum as received (8) | checksum of the payload (8) | checksum of these 48 bytes (8)
// kind 1, first: what the stage is: volume (16), stage id (16), base epoch (8), base id (16).
// kind 2: a chunk: records, zstd-compressed if raw_size is not 0. Deltas have been resolved and
// large
//   content taken out, so the payload may differ from what was received; the digest counts the
//   checksum as received.
// kind 3, last: the commit record: cut epoch (8), cut id (16), wall time in ns (8), number of
// chunks
//   (8), digest (8). Checksums are XXH3-64. Anything behind the first bad frame was never written.
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

// A chunk as it is to be kept: without deltas.
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
  // Reads a stage file back. kCorrupt: it is none, belongs to another volume, or has no (whole)
  // commit record. What comes back is committed.
  static Result<std::shared_ptr<Stage>> Recover(int directory_fd, const std::string& name,
                                                VolumeId volume);
  static bool IsStageName(std::string_view name);
  // Makes the spare files that are not there.
  static Status MakeSpares(int directory_fd);
  // At a start: a crash may have left one in use, and what it holds must not be taken for a later
  // stage's.
  static Status ClearSpares(int directory_fd);
  // Removes the file of a stage that never was, or is not needed.
  static Status RemoveFile(int directory_fd, const std::string& name);
  static constexpr char kRoomSuffix[] = ".room";

  CutId id() const { return id_; }
  const CutName& base() const { return base_; }
  const std::string& name() const { return name_; }

  // A chunk that is being taken: waits until no other copy of it is. One at a time for each thread.
  class Taking {
   public:
    Taking(Stage& stage, uint64_t sequence);
    ~Taking();
    Taking(const Taking&) = delete;
    // False: the stage has been removed meanwhile.
    bool possible() const { return possible_; }

   private:
    Stage& stage_;
    const uint64_t sequence_;
    const bool possible_;
  };

  // The checksum, as received, of a chunk that is here.
  std::optional<uint64_t> ReceivedChecksum(uint64_t sequence) const;
  StagedFiles& files() { return files_; }
  const StagedFiles& files() const { return files_; }
  // A sequence number that is here already changes nothing. After an error nothing was added.
  // `literal_bytes`: LiteralBytesIn its records.
  Status Append(const ResolvedChunk& chunk, Outline outline, uint64_t literal_bytes = 0);
  static uint64_t LiteralBytesIn(const std::vector<Record>& records);
  // Chunks 0 to count-1 are here, none else, and their checksums agree with the digest. kProtocol.
  Status CheckComplete(uint64_t chunk_count, uint64_t digest) const;
  // On stable storage when it returns. After an error of the sync the outcome is unknown until the
  // next start; kProtocol (it is not complete, see above) and an error of the write (ENOSPC) have
  // written nothing.
  Status Commit(const CommitRecord& record);
  CommitRecord commit_record() const;

  uint64_t chunk_count() const;
  uint64_t file_bytes() const;
  // The records of a chunk; `sequence` must be here.
  Result<std::vector<Record>> Read(uint64_t sequence) const;
  // In order of sequence. No Append may run meanwhile.
  std::vector<const Outline*> Outlines() const;
  // At most: of content that its redo writes into the tree, beside what comes as files.
  uint64_t literal_bytes() const;
  // Claims room for the redo, until ReleaseRoom. ENOSPC, EDQUOT: there is not so much. Best effort
  // where a filesystem cannot tell.
  Status HoldRoom(uint64_t bytes);
  void ReleaseRoom();
  // Waits until nothing is being taken any more.
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
  // Takes a spare file for the stage's own. ENOSPC if there is none, or what is to be in it does
  // not fit.
  Status TakeSpare(uint64_t bytes) REQUIRES(mutex_);
  Status WriteFrameHere(const Header& header, std::string_view payload) REQUIRES(mutex_);
  // Makes a spare file of it again, or of one that is as large; false: it is not, or none lacks.
  static bool GiveSpareBack(int directory_fd, const std::string& name);
  Status WriteFrame(const Header& header, std::string_view payload) REQUIRES(mutex_);
  Result<std::optional<Header>> ReadHeader(uint64_t offset) const;
  Result<std::string> ReadPayload(uint64_t offset, uint64_t size, uint64_t checksum) const;
  Status ReadBack(VolumeId volume) REQUIRES(mutex_);
  Status ReadFrame(const Header& header, uint64_t offset) REQUIRES(mutex_);
  Status CheckCompleteLocked(uint64_t chunk_count, uint64_t digest) const REQUIRES(mutex_);
  std::string Named(const char* what) const;

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
