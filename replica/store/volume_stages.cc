// A volume's open stage: what it answers to Begin and Chunk.
#include <algorithm>

#include "meta/base/fault_point.h"
#include "meta/base/log.h"
#include "replica/apply/room.h"
#include "replica/store/volume.h"
#include "replica/store/volume_replies.h"
#include "replica/wire/chunk_payload.h"

namespace tandem::replica {
namespace {

// Requests of a stage that has ended may still arrive; they must not do anything.
constexpr size_t kClosedStagesKept = 64;

bool HasData(const std::vector<Record>& records, Encoding encoding) {
  return std::ranges::any_of(records, [encoding](const Record& record) {
    const auto* data = std::get_if<DataRecord>(&record);
    return data != nullptr && data->encoding == encoding;
  });
}

}  // namespace

void Volume::NoteEnded(CutId stage) {
  closed_stages_.push_back(stage);
  if (closed_stages_.size() > kClosedStagesKept) closed_stages_.pop_front();
}

std::shared_ptr<Stage> Volume::OpenStage(CutId id) {
  MutexLock lock(mutex_);
  return stage_ != nullptr && stage_->id() == id ? stage_ : nullptr;
}

void Volume::CloseStage() {
  std::shared_ptr<Stage> stage;
  {
    MutexLock lock(mutex_);
    stage.swap(stage_);
    if (stage == nullptr) return;
    NoteEnded(stage->id());
  }
  // A file that stays is discarded at the next start.
  if (const auto removed = stage->Remove(); !removed) {
    LogWarning("volume {}: {}", identity_.name, removed.error().ToString());
  }
}

// The old tree stays until the new change set is whole: both need room. Better said before anything
// is sent than when the disk is full.
std::optional<Reply> Volume::CheckRoom(uint64_t bytes) {
  if (bytes == 0) return std::nullopt;
  const auto room = FreeRoom(fd_.get());
  if (!room) return Failure(room.error());
  const uint64_t free = room->bytes;
  if (bytes <= free) return std::nullopt;
  constexpr uint64_t kMiB = 1 << 20;
  return Refuse(ReplyCode::kNoSpace,
                "volume " + identity_.name + " of the replica: to catch up takes about " +
                    std::to_string((bytes + kMiB - 1) / kMiB) + " MiB beside the tree, and " +
                    std::to_string(free / kMiB) + " MiB are free on the filesystem of " + path_ +
                    ": free space there");
}

Reply Volume::Take(const Begin& begin) {
  MutexLock commit_lock(commit_mutex_);
  if (auto refusal = CheckRoom(begin.expected_bytes)) return *refusal;
  if (OpenStage(begin.stage) != nullptr) return Ok();
  {
    MutexLock lock(mutex_);
    if (std::ranges::find(closed_stages_, begin.stage) != closed_stages_.end()) {
      return Refuse(ReplyCode::kUnknownStage, "the stage has ended; begin another");
    }
    if (begin.base != durable_.name) {
      return RefuseWrongBase(begin.base, durable_.name);
    }
  }
  CloseStage();
  auto stage = Stage::Create(stage_fd_.get(), identity_.volume, begin.stage, begin.base);
  if (!stage) return Failure(stage.error());
  FAULT_POINT("replica.stage.begun");
  MutexLock lock(mutex_);
  stage_ = std::move(*stage);
  return Ok();
}

Reply Volume::Take(const Chunk& chunk) {
  const std::shared_ptr<Stage> stage = OpenStage(chunk.stage);
  if (stage == nullptr) return Refuse(ReplyCode::kUnknownStage, "no such stage is open; begin one");
  if (ChecksumOf(chunk.payload) != chunk.checksum) {
    return Refuse(ReplyCode::kBadRequest, "a chunk arrived damaged");
  }
  const Stage::Taking taking(*stage, chunk.sequence);
  if (!taking.possible()) return Refuse(ReplyCode::kUnknownStage, "the stage has just ended");
  if (const auto here = stage->ReceivedChecksum(chunk.sequence)) {
    if (*here == chunk.checksum) return Ok();
    return Refuse(ReplyCode::kBadRequest, "two chunks have one number");
  }
  auto records = UnpackRecords(chunk.payload, chunk.raw_size);
  if (!records) return Failure(records.error());
  if (HasData(*records, Encoding::kStaged)) {
    return Refuse(ReplyCode::kBadRequest, "content that was not sent");
  }
  const bool has_deltas = HasData(*records, Encoding::kDelta);
  if (has_deltas) {
    if (auto refusal = ResolveDeltas(*records)) return *refusal;
  }
  const auto taken_out = stage->files().Take(*records, chunk.sequence);
  if (!taken_out) return Failure(taken_out.error());
  ResolvedChunk resolved{chunk.sequence, chunk.raw_size, chunk.checksum, chunk.payload};
  if (has_deltas || *taken_out) {
    resolved.payload = EncodeRecords(*records);
    resolved.raw_size = 0;
    if (resolved.payload.size() > kMaxMessageBytes) {
      return Refuse(ReplyCode::kBadRequest, "the deltas of a chunk come to more than its limit");
    }
  }
  const auto appended =
      stage->Append(resolved, OutlineOf(*records), Stage::LiteralBytesIn(*records));
  return appended ? Ok() : Failure(appended.error());
}

}  // namespace tandem::replica
