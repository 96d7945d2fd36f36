// Reads stages back from their files.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>

#include "replica/apply/stage.h"
#include "replica/apply/stage_frames.h"

namespace tandem::replica {

Result<std::shared_ptr<Stage>> Stage::OpenFile(int directory_fd, const std::string& name) {
  const auto id = CutId::FromHex(name.substr(0, name.size() - std::strlen(kStageSuffix)));
  if (!id) return MakeError(ErrorKind::kCorrupt, "read the stage id in file name " + name);
  std::shared_ptr<Stage> stage(new Stage(directory_fd, *id));
  stage->fd_.Reset(openat(directory_fd, name.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  if (!stage->fd_.valid()) return ErrnoError(stage->Named("open"));
  struct stat found = {};
  if (fstat(stage->fd_.get(), &found) != 0 || !S_ISREG(found.st_mode)) {
    return MakeError(ErrorKind::kCorrupt, stage->Named("read", "it is no regular file"));
  }
  return stage;
}

Result<std::shared_ptr<Stage>> Stage::Recover(int directory_fd, const std::string& name,
                                              VolumeId volume) {
  ASSIGN_OR_RETURN(std::shared_ptr<Stage> stage, OpenFile(directory_fd, name));
  MutexLock lock(stage->mutex_);
  RETURN_IF_ERROR(stage->ReadFrames(volume, /*note_files=*/false));
  if (!stage->commit_) {
    return MakeError(ErrorKind::kCorrupt, stage->Named("read", "no commit record"));
  }
  RETURN_IF_ERROR(stage->CheckCompleteLocked(stage->commit_->chunk_count, stage->commit_->digest));
  return stage;
}

Result<std::shared_ptr<Stage>> Stage::RecoverOpen(int directory_fd, const std::string& name,
                                                  VolumeId volume, LifeId store) {
  ASSIGN_OR_RETURN(std::shared_ptr<Stage> stage, OpenFile(directory_fd, name));
  MutexLock lock(stage->mutex_);
  RETURN_IF_ERROR(stage->ReadFrames(volume, /*note_files=*/true));
  const auto useless = [&stage](const char* why) {
    return MakeError(ErrorKind::kCorrupt, stage->Named("go on with", why));
  };
  if (stage->commit_) return useless("it is committed");
  if (stage->origin_.source.is_null()) return useless("its source would not");
  if (stage->origin_.store != store) return useless("the disk may have lost a part of it");
  // A spare file that was put to use: its size tells it, since it keeps that.
  char next = 1;
  if (pread(stage->fd_.get(), &next, sizeof next, static_cast<off_t>(stage->end_)) == 1 &&
      next == 0) {
    return useless("it is a spare file");
  }
  ASSIGN_OR_RETURN(const bool complete, stage->files_.FindAgain());
  if (!complete) return useless("some of its content is gone");
  stage->attempt_ = CutId();
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
  char bytes[kFrameHeaderBytes];
  const ssize_t got = pread(fd_.get(), bytes, sizeof bytes, static_cast<off_t>(offset));
  if (got < 0) return ErrnoError(Named("read"));
  if (got != sizeof bytes) return std::nullopt;
  auto header = Header::Unpack({bytes, sizeof bytes});
  if (header && header->size > kMaxMessageBytes) return std::nullopt;
  return header;
}

Status Stage::ReadFrames(VolumeId volume, bool note_files) {
  while (!commit_) {
    ASSIGN_OR_RETURN(const auto header, ReadHeader(end_));
    if (!header) break;
    if ((header->kind == kBeginFrame) != (end_ == 0)) {
      return MakeError(ErrorKind::kCorrupt, Named("read", "frames out of order"));
    }
    const uint64_t payload_at = end_ + kFrameHeaderBytes;
    auto payload = ReadPayload(payload_at, header->size, header->checksum);
    if (!payload && payload.error().kind() == ErrorKind::kCorrupt && end_ != 0) break;
    if (!payload) return tl::unexpected<Error>(std::move(payload.error()));
    const bool is_first = end_ == 0;
    end_ = payload_at + header->size;
    if (is_first && Unpacker(*payload).Id<VolumeId>() != volume) {
      return MakeError(ErrorKind::kCorrupt, Named("read", "it belongs to another volume"));
    }
    RETURN_IF_ERROR(ReadFrame(*header, payload_at, *payload, note_files));
  }
  if (end_ == 0) return MakeError(ErrorKind::kCorrupt, Named("read", "no frame"));
  return {};
}

Status Stage::ReadFrame(const Header& header, uint64_t payload_at, const std::string& payload,
                        bool note_files) {
  switch (header.kind) {
    case kBeginFrame:
      resumed_end_ = end_;
      return ReadBegin(payload);
    case kChunkFrame:
      return ReadChunk(header, payload_at, payload, note_files);
    case kResumeFrame:
      if (WholeBeginning() != std::pair(header.sequence, end_ - kFrameHeaderBytes) ||
          frames_.size() != header.sequence || !payload.empty()) {
        return MakeError(ErrorKind::kCorrupt, Named("read", "gone on with at a wrong place"));
      }
      resumed_at_.push_back(header.sequence);
      resumed_end_ = end_;
      ForgetEntries();
      return {};
    case kCommitFrame:
      return ReadCommit(payload);
    default:
      return MakeError(ErrorKind::kCorrupt, Named("read", "unknown frame"));
  }
}

Status Stage::ReadBegin(std::string_view payload) {
  Unpacker unpacker(payload);
  (void)unpacker.Id<VolumeId>();
  if (unpacker.Id<CutId>() != id_) {
    return MakeError(ErrorKind::kCorrupt, Named("read", "it has another id than its name"));
  }
  base_.epoch = Epoch(unpacker.Number());
  base_.id = unpacker.Id<CutId>();
  if (base_.epoch > kNewestEpoch) {
    return MakeError(ErrorKind::kCorrupt, Named("read", "the number of its base is impossible"));
  }
  if (unpacker.AtEnd()) return {};  // it is not to be gone on with
  origin_.source = unpacker.Id<LifeId>();
  origin_.begun_ns = static_cast<int64_t>(unpacker.Number());
  origin_.store = unpacker.Id<LifeId>();
  if (!unpacker.AtEnd()) return MakeError(ErrorKind::kCorrupt, Named("read", "unknown frame"));
  return {};
}

Status Stage::ReadChunk(const Header& header, uint64_t payload_at, const std::string& payload,
                        bool note_files) {
  ASSIGN_OR_RETURN(const auto records, UnpackRecords(payload, header.raw_size));
  frames_.emplace(header.sequence,
                  Frame{payload_at, header.size, header.raw_size, header.received_checksum,
                        header.checksum, ContentIn(records), OutlineOf(records)});
  if (!note_files) return {};
  for (const Record& record : records) {
    const auto* data = std::get_if<DataRecord>(&record);
    if (data != nullptr && data->encoding == Encoding::kStaged) files_.Note(*data, header.sequence);
  }
  return {};
}

Status Stage::ReadCommit(std::string_view payload) {
  Unpacker unpacker(payload);
  CommitRecord record;
  record.cut.epoch = Epoch(unpacker.Number());
  record.cut.id = unpacker.Id<CutId>();
  record.wall_time_ns = static_cast<int64_t>(unpacker.Number());
  record.chunk_count = unpacker.Number();
  record.digest = unpacker.Number();
  if (record.cut.epoch > kNewestEpoch) {
    return MakeError(ErrorKind::kCorrupt, Named("read", "the number of its cut is impossible"));
  }
  if (!unpacker.AtEnd()) return MakeError(ErrorKind::kCorrupt, Named("read", "unknown frame"));
  commit_ = record;
  return {};
}

}  // namespace tandem::replica
