#include "replica/apply/stage.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "meta/base/fault_point.h"
#include "replica/apply/file_data.h"
#include "replica/apply/spare_file.h"
#include "replica/apply/tuning.h"
#include "replica/wire/chunk_payload.h"
#include "replica/wire/little_endian.h"

namespace tandem::replica {
namespace {

constexpr uint32_t kMagic = 0x31534654;  // "TFS1"
constexpr uint32_t kBeginFrame = 1;
constexpr uint32_t kChunkFrame = 2;
constexpr uint32_t kCommitFrame = 3;
constexpr size_t kHeaderBytes = 56;
constexpr char kSuffix[] = ".stage";
// One for a cut that cannot be applied for lack of room, and one for a cut that makes room.
constexpr const char* kSpares[] = {"spare.0", "spare.1"};

}  // namespace

uint64_t Stage::LiteralBytesIn(const std::vector<Record>& records) {
  uint64_t bytes = 0;
  for (const Record& record : records) {
    const auto* data = std::get_if<DataRecord>(&record);
    if (data != nullptr && data->encoding == Encoding::kLiteral) bytes += data->length;
  }
  return bytes;
}

struct Stage::Header {
  uint32_t kind = 0;
  uint64_t sequence = 0;
  uint64_t raw_size = 0;
  uint64_t size = 0;
  uint64_t received_checksum = 0;
  uint64_t checksum = 0;

  static Header For(uint32_t kind, std::string_view payload) {
    return {kind, 0, 0, payload.size(), 0, ChecksumOf(payload)};
  }

  std::string Pack() const {
    Packer packer;
    packer.Number(uint64_t{kind} << 32 | kMagic).Number(sequence).Number(raw_size).Number(size);
    packer.Number(received_checksum).Number(checksum);
    return packer.Number(ChecksumOf(packer.bytes())).bytes();
  }

  static std::optional<Header> Unpack(std::string_view bytes) {
    Unpacker unpacker(bytes);
    const uint64_t first = unpacker.Number();
    Header header{static_cast<uint32_t>(first >> 32),
                  unpacker.Number(),
                  unpacker.Number(),
                  unpacker.Number(),
                  unpacker.Number(),
                  unpacker.Number()};
    const uint64_t own = unpacker.Number();
    if (!unpacker.AtEnd() || static_cast<uint32_t>(first) != kMagic ||
        own != ChecksumOf(bytes.substr(0, kHeaderBytes - sizeof own))) {
      return std::nullopt;
    }
    return header;
  }
};

Stage::Stage(int directory_fd, CutId id)
    : directory_fd_(directory_fd),
      id_(id),
      name_(id.ToHex() + kSuffix),
      files_(directory_fd, id.ToHex() + StagedFiles::kSuffix) {}

bool Stage::IsStageName(std::string_view name) { return name.ends_with(kSuffix); }

std::string Stage::Named(const char* what, const char* why) const {
  const std::string text = std::string(what) + " stage file " + name_;
  return why == nullptr ? text : text + " (" + why + ")";
}

Result<std::shared_ptr<Stage>> Stage::Create(int directory_fd, VolumeId volume, CutId id,
                                             const CutName& base) {
  std::shared_ptr<Stage> stage(new Stage(directory_fd, id));
  stage->base_ = base;
  stage->fd_.Reset(openat(directory_fd, stage->name_.c_str(),
                          O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  const auto created = stage->fd_.valid() ? Status() : ErrnoError(stage->Named("create"));
  MutexLock lock(stage->mutex_);
  if (!created && !MeansNoRoom(created.error())) return tl::unexpected<Error>(created.error());
  if (!created) RETURN_IF_ERROR(stage->TakeSpare(0));
  const std::string payload =
      Packer().Id(volume).Id(id).Number(base.epoch.number()).Id(base.id).bytes();
  RETURN_IF_ERROR(stage->WriteFrame(Header::For(kBeginFrame, payload), payload));
  return stage;
}

Status Stage::WriteFrame(const Header& header, std::string_view payload) {
  auto written = WriteFrameHere(header, payload);
  if (written || !MeansNoRoom(written.error())) return written;
  if (!TakeSpare(end_ + kHeaderBytes + payload.size())) return written;
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

uint64_t Stage::literal_bytes() const {
  MutexLock lock(mutex_);
  return literal_bytes_;
}

// ---- Chunks ------------------------------------------------------------------------------------

bool Stage::BeginTaking(uint64_t sequence) {
  MutexLock lock(mutex_);
  while (taking_.contains(sequence)) taken_.Wait(mutex_);
  if (!removed_) taking_.insert(sequence);
  return !removed_;
}

Stage::Taking::Taking(Stage& stage, uint64_t sequence)
    : stage_(stage), sequence_(sequence), possible_(stage.BeginTaking(sequence)) {}

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

Status Stage::Append(const ResolvedChunk& chunk, Outline outline, uint64_t literal_bytes) {
  const uint64_t checksum = ChecksumOf(chunk.payload);
  MutexLock lock(mutex_);
  if (commit_ || frames_.contains(chunk.sequence)) return {};
  const Header header{kChunkFrame,          chunk.sequence,          chunk.raw_size,
                      chunk.payload.size(), chunk.received_checksum, checksum};
  const uint64_t offset = end_ + kHeaderBytes;
  RETURN_IF_ERROR(WriteFrame(header, chunk.payload));
  frames_.emplace(chunk.sequence, Frame{offset, header.size, header.raw_size,
                                        header.received_checksum, checksum, std::move(outline)});
  literal_bytes_ += literal_bytes;
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
  checksums.reserve(frames_.size());
  for (const auto& [sequence, frame] : frames_) checksums.push_back(frame.received_checksum);
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

// ---- Reading back ------------------------------------------------------------------------------

Result<std::shared_ptr<Stage>> Stage::Recover(int directory_fd, const std::string& name,
                                              VolumeId volume) {
  const auto id = CutId::FromHex(name.substr(0, name.size() - std::strlen(kSuffix)));
  if (!id) return MakeError(ErrorKind::kCorrupt, "read the stage id in file name " + name);
  std::shared_ptr<Stage> stage(new Stage(directory_fd, *id));
  stage->fd_.Reset(openat(directory_fd, name.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  if (!stage->fd_.valid()) return ErrnoError(stage->Named("open"));
  struct stat found = {};
  if (fstat(stage->fd_.get(), &found) != 0 || !S_ISREG(found.st_mode)) {
    return MakeError(ErrorKind::kCorrupt, stage->Named("read", "it is no regular file"));
  }
  MutexLock lock(stage->mutex_);
  RETURN_IF_ERROR(stage->ReadBack(volume));
  return stage;
}

Result<std::string> Stage::ReadPayload(uint64_t offset, uint64_t size, uint64_t checksum) const {
  std::string payload(size, '\0');
  for (size_t done = 0; done < size;) {
    const ssize_t got =
        pread(fd_.get(), payload.data() + done, size - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoError(Named("read"));
    if (got == 0) return MakeError(ErrorKind::kCorrupt, Named("read", "cut short"));
    done += static_cast<size_t>(got);
  }
  if (ChecksumOf(payload) != checksum) {
    return MakeError(ErrorKind::kCorrupt, Named("read", "a checksum does not match"));
  }
  return payload;
}

Result<std::optional<Stage::Header>> Stage::ReadHeader(uint64_t offset) const {
  char bytes[kHeaderBytes];
  const ssize_t got = pread(fd_.get(), bytes, sizeof bytes, static_cast<off_t>(offset));
  if (got < 0) return ErrnoError(Named("read"));
  if (got != sizeof bytes) return std::nullopt;
  auto header = Header::Unpack({bytes, sizeof bytes});
  if (header && header->size > kMaxMessageBytes) return std::nullopt;
  return header;
}

Status Stage::ReadBack(VolumeId volume) {
  while (!commit_) {
    ASSIGN_OR_RETURN(const auto header, ReadHeader(end_));
    if (!header) return MakeError(ErrorKind::kCorrupt, Named("read", "no commit record"));
    if ((header->kind == kBeginFrame) != (end_ == 0)) {
      return MakeError(ErrorKind::kCorrupt, Named("read", "frames out of order"));
    }
    RETURN_IF_ERROR(ReadFrame(*header, end_ + kHeaderBytes));
    if (end_ == 0) {
      ASSIGN_OR_RETURN(const std::string payload,
                       ReadPayload(kHeaderBytes, header->size, header->checksum));
      if (Unpacker(payload).Id<VolumeId>() != volume) {
        return MakeError(ErrorKind::kCorrupt, Named("read", "it belongs to another volume"));
      }
    }
    end_ += kHeaderBytes + header->size;
  }
  return CheckCompleteLocked(commit_->chunk_count, commit_->digest);
}

Status Stage::ReadFrame(const Header& header, uint64_t offset) {
  ASSIGN_OR_RETURN(const std::string payload, ReadPayload(offset, header.size, header.checksum));
  if (header.kind == kChunkFrame) {
    ASSIGN_OR_RETURN(const auto records, UnpackRecords(payload, header.raw_size));
    frames_.emplace(header.sequence,
                    Frame{offset, header.size, header.raw_size, header.received_checksum,
                          header.checksum, OutlineOf(records)});
    literal_bytes_ += LiteralBytesIn(records);
    return {};
  }
  Unpacker unpacker(payload);
  if (header.kind == kBeginFrame) {
    (void)unpacker.Id<VolumeId>();
    if (unpacker.Id<CutId>() != id_) {
      return MakeError(ErrorKind::kCorrupt, Named("read", "it has another id than its name"));
    }
    base_.epoch = Epoch(unpacker.Number());
    base_.id = unpacker.Id<CutId>();
    if (base_.epoch > kNewestEpoch) {
      return MakeError(ErrorKind::kCorrupt, Named("read", "the number of its base is impossible"));
    }
  } else if (header.kind == kCommitFrame) {
    CommitRecord record;
    record.cut.epoch = Epoch(unpacker.Number());
    record.cut.id = unpacker.Id<CutId>();
    record.wall_time_ns = static_cast<int64_t>(unpacker.Number());
    record.chunk_count = unpacker.Number();
    record.digest = unpacker.Number();
    if (record.cut.epoch > kNewestEpoch) {
      return MakeError(ErrorKind::kCorrupt, Named("read", "the number of its cut is impossible"));
    }
    commit_ = record;
  }
  if (!unpacker.AtEnd()) return MakeError(ErrorKind::kCorrupt, Named("read", "unknown frame"));
  return {};
}

}  // namespace tandem::replica
