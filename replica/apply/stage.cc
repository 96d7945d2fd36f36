#include "replica/apply/stage.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "meta/base/fault_point.h"
#include "replica/apply/content_digests.h"
#include "replica/apply/file_data.h"
#include "replica/apply/spare_file.h"
#include "replica/apply/stage_frames.h"
#include "replica/apply/tuning.h"
#include "replica/wire/chunk_payload.h"
#include "replica/wire/little_endian.h"

namespace tandem::replica {
namespace {

// One for a cut that cannot be applied for lack of room, and one for a cut that makes room.
constexpr const char* kSpares[] = {"spare.0", "spare.1"};

}  // namespace

StagedContent Stage::ContentIn(const std::vector<Record>& records) {
  StagedContent content;
  for (const Record& record : records) {
    const auto* data = std::get_if<DataRecord>(&record);
    if (data == nullptr) continue;
    if (data->encoding == Encoding::kLiteral) content.literal += data->length;
    if (data->encoding == Encoding::kStaged && !ContentDigests::IsStagedHole(*data)) {
      content.staged += data->length;
    }
  }
  return content;
}

Stage::Stage(int directory_fd, CutId id)
    : directory_fd_(directory_fd),
      id_(id),
      name_(id.ToHex() + kStageSuffix),
      files_(directory_fd, id.ToHex() + StagedFiles::kSuffix),
      attempt_(id) {}

bool Stage::IsStageName(std::string_view name) { return name.ends_with(kStageSuffix); }

std::string Stage::Named(const char* what, const char* why) const {
  const std::string text = std::string(what) + " stage file " + name_;
  return why == nullptr ? text : text + " (" + why + ")";
}

Result<std::shared_ptr<Stage>> Stage::Create(int directory_fd, VolumeId volume, CutId id,
                                             const CutName& base, const StageOrigin& origin) {
  std::shared_ptr<Stage> stage(new Stage(directory_fd, id));
  stage->base_ = base;
  stage->origin_ = origin;
  stage->fd_.Reset(openat(directory_fd, stage->name_.c_str(),
                          O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  const auto created = stage->fd_.valid() ? Status() : ErrnoError(stage->Named("create"));
  MutexLock lock(stage->mutex_);
  if (!created && !MeansNoRoom(created.error())) return tl::unexpected<Error>(created.error());
  if (!created) RETURN_IF_ERROR(stage->TakeSpare(0));
  Packer packer;
  packer.Id(volume).Id(id).Number(base.epoch.number()).Id(base.id);
  if (!origin.source.is_null()) {
    packer.Id(origin.source).Number(static_cast<uint64_t>(origin.begun_ns)).Id(origin.store);
  }
  RETURN_IF_ERROR(stage->WriteFrame(Header::For(kBeginFrame, packer.bytes()), packer.bytes()));
  stage->resumed_end_ = stage->end_;
  return stage;
}

Status Stage::WriteFrame(const Header& header, std::string_view payload) {
  auto written = WriteFrameHere(header, payload);
  if (written || !MeansNoRoom(written.error())) return written;
  if (!TakeSpare(end_ + kFrameHeaderBytes + payload.size())) return written;
  return WriteFrameHere(header, payload);
}

Status Stage::WriteFrameHere(const Header& header, std::string_view payload) {
  const std::string packed = header.Pack();
  const size_t total = packed.size() + payload.size();
  size_t done = 0;
  while (done < total) {
    iovec parts[2];
    int count = 0;
    if (done < packed.size()) {
      parts[count++] = {const_cast<char*>(packed.data()) + done, packed.size() - done};
    }
    const size_t skip = done < packed.size() ? 0 : done - packed.size();
    parts[count++] = {const_cast<char*>(payload.data()) + skip, payload.size() - skip};
    const ssize_t written = pwritev(fd_.get(), parts, count, static_cast<off_t>(end_ + done));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      auto error = ErrnoError(Named("write"));
      // Bytes behind end_ are never read, but take space. A spare file keeps its size.
      (void)ftruncate(fd_.get(),
                      static_cast<off_t>(is_spare_ ? std::max(end_, kSpareStageBytes) : end_));
      return error;
    }
    done += static_cast<size_t>(written);
  }
  end_ += total;
  return {};
}

// ---- Spare files -------------------------------------------------------------------------------

Status Stage::MakeSpares(int directory_fd) {
  for (const char* name : kSpares) {
    RETURN_IF_ERROR(MakeSpare(directory_fd, name, kSpareStageBytes, 0600));
  }
  return {};
}

Status Stage::ClearSpares(int directory_fd) {
  for (const char* name : kSpares) {
    const UniqueFd fd(openat(directory_fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW));
    if (!fd.valid() || !IsFileWithOneName(fd.get())) continue;
    uint64_t first = 0;
    if (pread(fd.get(), &first, sizeof first, 0) == sizeof first && first == 0) continue;
    RETURN_IF_ERROR(ClearSpare(fd.get()));
  }
  return {};
}

Status Stage::TakeSpare(uint64_t bytes) {
  if (is_spare_ || bytes > kSpareStageBytes) return ErrnoError(ENOSPC, Named("find room for"));
  for (const char* name : kSpares) {
    UniqueFd spare(openat(directory_fd_, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW));
    if (!spare.valid() || !IsFileWithOneName(spare.get())) continue;
    if (fd_.valid()) {
      ASSIGN_OR_RETURN(const std::string begun, ReadUpTo(fd_.get(), 0, end_));
      RETURN_IF_ERROR(WriteFully(spare.get(), begun, 0));
    }
    FAULT_POINT("replica.stage.spare_filled");
    if (renameat(directory_fd_, name, directory_fd_, name_.c_str()) != 0) {
      return ErrnoError(Named("rename a spare file to"));
    }
    struct stat filled = {};
    struct stat named = {};
    if (fstat(spare.get(), &filled) != 0 ||
        fstatat(directory_fd_, name_.c_str(), &named, AT_SYMLINK_NOFOLLOW) != 0 ||
        filled.st_ino != named.st_ino) {
      return ErrnoError(EIO, Named("rename a spare file to", "another file has the name"));
    }
    // dup3, so that threads that are reading the stage go on in the new file.
    if (fd_.valid() && dup3(spare.get(), fd_.get(), O_CLOEXEC) < 0)
      return ErrnoError(Named("open"));
    if (!fd_.valid()) fd_ = std::move(spare);
    is_spare_ = true;
    FAULT_POINT("replica.stage.spare_taken");
    return {};
  }
  return ErrnoError(ENOSPC, Named("find a spare file for"));
}

Status Stage::RemoveFile(int directory_fd, const std::string& name) {
  if (GiveSpareBack(directory_fd, name)) return {};
  if (unlinkat(directory_fd, name.c_str(), 0) == 0 || errno == ENOENT) return {};
  return ErrnoError("remove stage file " + name);
}

bool Stage::GiveSpareBack(int directory_fd, const std::string& name) {
  const auto missing = std::ranges::find_if(kSpares, [directory_fd](const char* spare) {
    return faccessat(directory_fd, spare, F_OK, AT_SYMLINK_NOFOLLOW) != 0;
  });
  if (missing == std::end(kSpares)) return false;
  const UniqueFd fd(openat(directory_fd, name.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  struct stat now = {};
  if (!fd.valid() || fstat(fd.get(), &now) != 0 || !IsFileWithOneName(now)) return false;
  if (now.st_size < static_cast<off_t>(kSpareStageBytes)) return false;
  if (ftruncate(fd.get(), kSpareStageBytes) != 0 || !ClearSpare(fd.get())) return false;
  FAULT_POINT("replica.stage.spare_cleared");
  return renameat2(directory_fd, name.c_str(), directory_fd, *missing, RENAME_NOREPLACE) == 0;
}

// ---- Room for the redo -------------------------------------------------------------------------

Status Stage::HoldRoom(uint64_t bytes) {
  ReleaseRoom();
  if (bytes == 0) return {};
  const std::string name = id_.ToHex() + kRoomSuffix;
  ASSIGN_OR_RETURN(const UniqueFd fd, CreateAfresh(directory_fd_, name, 0600));
  {
    MutexLock lock(mutex_);
    holds_room_ = true;
  }
  // Not posix_fallocate, which writes zeros if the filesystem cannot preallocate.
  if (fallocate(fd.get(), 0, 0, static_cast<off_t>(bytes)) == 0) return {};
  if (errno == EOPNOTSUPP || errno == ENOSYS) return {};
  auto error = ErrnoError("claim room in " + name);
  ReleaseRoom();
  return error;
}

void Stage::ReleaseRoom() {
  MutexLock lock(mutex_);
  if (!std::exchange(holds_room_, false)) return;
  (void)unlinkat(directory_fd_, (id_.ToHex() + kRoomSuffix).c_str(), 0);
}

StagedContent Stage::content() const {
  MutexLock lock(mutex_);
  StagedContent all;
  for (const auto& [sequence, frame] : frames_) {
    all.literal += frame.content.literal;
    all.staged += frame.content.staged;
  }
  return all;
}

// ---- Chunks ------------------------------------------------------------------------------------

bool Stage::BeginTaking(CutId attempt, uint64_t sequence) {
  MutexLock lock(mutex_);
  while (taking_.contains(sequence)) taken_.Wait(mutex_);
  const bool possible = !removed_ && attempt == attempt_ && !attempt.is_null();
  if (possible) taking_.insert(sequence);
  return possible;
}

Stage::Taking::Taking(Stage& stage, CutId attempt, uint64_t sequence)
    : stage_(stage), sequence_(sequence), possible_(stage.BeginTaking(attempt, sequence)) {}

Stage::Taking::~Taking() {
  if (!possible_) return;
  MutexLock lock(stage_.mutex_);
  stage_.taking_.erase(sequence_);
  stage_.taken_.NotifyAll();
}

std::optional<uint64_t> Stage::ReceivedChecksum(uint64_t sequence) const {
  MutexLock lock(mutex_);
  const auto frame = frames_.find(sequence);
  if (frame == frames_.end()) return std::nullopt;
  return frame->second.received_checksum;
}

Status Stage::Append(const ResolvedChunk& chunk, Outline outline, const StagedContent& content) {
  const uint64_t checksum = ChecksumOf(chunk.payload);
  MutexLock lock(mutex_);
  if (commit_ || frames_.contains(chunk.sequence)) return {};
  const Header header{kChunkFrame,          chunk.sequence,          chunk.raw_size,
                      chunk.payload.size(), chunk.received_checksum, checksum};
  const uint64_t offset = end_ + kFrameHeaderBytes;
  RETURN_IF_ERROR(WriteFrame(header, chunk.payload));
  frames_.emplace(chunk.sequence,
                  Frame{offset, header.size, header.raw_size, header.received_checksum, checksum,
                        content, std::move(outline)});
  FAULT_POINT("replica.stage.chunk_written");
  return {};
}

Status Stage::CheckComplete(uint64_t chunk_count, uint64_t digest) const {
  MutexLock lock(mutex_);
  return CheckCompleteLocked(chunk_count, digest);
}

Status Stage::CheckCompleteLocked(uint64_t chunk_count, uint64_t digest) const {
  // Keys are in order, so the right number of them with the right last one has no gap.
  if (frames_.size() != chunk_count ||
      (chunk_count != 0 && frames_.rbegin()->first != chunk_count - 1)) {
    return MakeError(ErrorKind::kProtocol,
                     "commit " + std::to_string(chunk_count) + " chunks (" +
                         std::to_string(frames_.size()) + " were received)",
                     EBADMSG);
  }
  std::vector<uint64_t> checksums;
  for (auto frame = frames_.lower_bound(LastResumedAt()); frame != frames_.end(); ++frame) {
    checksums.push_back(frame->second.received_checksum);
  }
  if (DigestOf(checksums) != digest) {
    return MakeError(ErrorKind::kProtocol, "commit chunks (the digest does not match)", EBADMSG);
  }
  return {};
}

Status Stage::Commit(const CommitRecord& record) {
  const std::string payload = Packer()
                                  .Number(record.cut.epoch.number())
                                  .Id(record.cut.id)
                                  .Number(static_cast<uint64_t>(record.wall_time_ns))
                                  .Number(record.chunk_count)
                                  .Number(record.digest)
                                  .bytes();
  RETURN_IF_ERROR(files_.Sync());
  MutexLock lock(mutex_);
  // A chunk may have come since the caller checked.
  RETURN_IF_ERROR(CheckCompleteLocked(record.chunk_count, record.digest));
  RETURN_IF_ERROR(WriteFrame(Header::For(kCommitFrame, payload), payload));
  FAULT_POINT("replica.commit.before_sync");
  if (fdatasync(fd_.get()) != 0) return ErrnoError(Named("sync"));
  // The file's name must be on stable storage as well.
  if (fsync(directory_fd_) != 0) return ErrnoError("sync the directory of stages");
  commit_ = record;
  FAULT_POINT("replica.commit.after_sync");
  return {};
}

CommitRecord Stage::commit_record() const {
  MutexLock lock(mutex_);
  return commit_.value_or(CommitRecord());
}

uint64_t Stage::chunk_count() const {
  MutexLock lock(mutex_);
  return frames_.size();
}

std::vector<uint64_t> Stage::resumed_at() const {
  MutexLock lock(mutex_);
  return resumed_at_;
}

uint64_t Stage::file_bytes() const {
  MutexLock lock(mutex_);
  return end_;
}

std::vector<const Outline*> Stage::Outlines() const {
  MutexLock lock(mutex_);
  std::vector<const Outline*> outlines;
  for (const auto& [sequence, frame] : frames_) outlines.push_back(&frame.outline);
  return outlines;
}

Result<std::vector<Record>> Stage::Read(uint64_t sequence) const {
  uint64_t offset = 0, size = 0, raw_size = 0, checksum = 0;
  {
    MutexLock lock(mutex_);
    const Frame& frame = frames_.at(sequence);
    offset = frame.offset;
    size = frame.size;
    raw_size = frame.raw_size;
    checksum = frame.checksum;
  }
  ASSIGN_OR_RETURN(const std::string payload, ReadPayload(offset, size, checksum));
  return UnpackRecords(payload, raw_size);
}

Status Stage::Remove() {
  {
    MutexLock lock(mutex_);
    removed_ = true;
    while (!taking_.empty()) taken_.Wait(mutex_);
  }
  ReleaseRoom();
  // The stage file first, because it must never be found without its staged files.
  RETURN_IF_ERROR(RemoveFile(directory_fd_, name_));
  return files_.Remove();
}

}  // namespace tandem::replica
