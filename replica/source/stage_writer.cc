#include "replica/source/stage_writer.h"

#include <xxhash.h>
#include <zstd.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "meta/base/fault_point.h"
#include "replica/source/tuning.h"
#include "replica/wire/chunk_payload.h"

namespace tandem::replica {
namespace {

size_t SizeOf(const Record& record) {
  if (const auto* data = std::get_if<DataRecord>(&record)) {
    // The replica turns deltas into content before it stores the chunk.
    const size_t resolved = data->encoding == Encoding::kDelta ? data->length : 0;
    return kRecordOverhead + std::max(data->bytes.size(), resolved);
  }
  if (const auto* object = std::get_if<ObjectRecord>(&record)) {
    size_t size = kRecordOverhead + object->attributes.link_target.size();
    for (const auto& [name, value] : object->attributes.xattrs) size += name.size() + value.size();
    return size;
  }
  return kRecordOverhead;
}

// Returns the bytes compressed; an empty string if that does not help.
std::string CompressAll(std::string_view raw) {
  std::string compressed(ZSTD_compressBound(raw.size()), '\0');
  const size_t size =
      ZSTD_compress(compressed.data(), compressed.size(), raw.data(), raw.size(), kZstdLevel);
  if (ZSTD_isError(size) != 0 || size >= raw.size() - raw.size() / 16) return {};
  compressed.resize(size);
  return compressed;
}

// Likewise. Of a large chunk samples are tried first: most large content is compressed already.
std::string Compress(const std::string& raw) {
  if (raw.size() < kCompressFrom) return {};
  if (raw.size() >= 2 * kSamples * kSampleBytes) {
    std::string samples;
    const size_t step = raw.size() / kSamples;
    for (size_t i = 0; i < kSamples; ++i) samples.append(raw, i * step, kSampleBytes);
    if (CompressAll(samples).empty()) return {};
  }
  return CompressAll(raw);
}

}  // namespace

StageWriter::StageWriter(Peer& peer, ShipProgress& progress, const CutName& base, LifeId life,
                         std::chrono::system_clock::time_point since)
    : peer_(&peer),
      progress_(&progress),
      stage_(CutId::Random()),
      base_(base),
      life_(life),
      begun_ns_(std::chrono::nanoseconds(since.time_since_epoch()).count()) {
  progress.unanswered_bytes = 0;
}

Result<StageWriter> StageWriter::Begin(Peer& peer, ShipProgress& progress, const CutName& base,
                                       LifeId life, std::chrono::system_clock::time_point since) {
  StageWriter writer(peer, progress, base, life, since);
  RETURN_IF_ERROR(writer.EnsureBegun());
  return writer;
}

StageWriter StageWriter::BeginLater(Peer& peer, ShipProgress& progress, const CutName& base,
                                    LifeId life, std::chrono::system_clock::time_point since) {
  return {peer, progress, base, life, since};
}

Status StageWriter::EnsureBegun() {
  if (begun_) return {};
  ASSIGN_OR_RETURN(const Reply reply,
                   peer_->Ask(replica::Begin{stage_, base_, 0, life_, begun_ns_}));
  RETURN_IF_ERROR(Peer::ToStatus(reply));
  if (const auto* resumed = std::get_if<Resumed>(&reply.body)) resumed_ = *resumed;
  begun_ = true;
  FAULT_POINT("source.ship.begun");
  return {};
}

Status StageWriter::Expect(uint64_t bytes) {
  RETURN_IF_ERROR(EnsureBegun());
  ASSIGN_OR_RETURN(const Reply reply, peer_->Ask(replica::Begin{stage_, base_, bytes}));
  return Peer::ToStatus(reply);
}

Status StageWriter::Add(Record record) {
  pending_bytes_ += SizeOf(record);
  CountContent(record);
  pending_.push_back(std::move(record));
  ++records_;
  const bool is_full = pending_bytes_ >= chunk_bytes() || pending_copied_ >= kChunkCopies ||
                       pending_.size() >= kChunkRecords;
  return is_full ? SendChunk() : Status();
}

// A hole brings none.
void StageWriter::CountContent(const Record& record) {
  const auto* data = std::get_if<DataRecord>(&record);
  if (data == nullptr || data->encoding == Encoding::kHole) return;
  pending_content_bytes_ += data->length;
  progress_->unanswered_bytes += data->length;
  if (data->encoding == Encoding::kCopy) pending_copied_ += data->length;
  auto& kind = data->encoding == Encoding::kCopy    ? progress_->copied
               : data->encoding == Encoding::kDelta ? progress_->delta
                                                    : progress_->plain;
  kind += data->length;
}

// What has been added becomes a chunk.
Chunk StageWriter::TakeChunk() {
  std::string raw =
      peer_->FindsContent() ? EncodeInColumns(std::move(pending_)) : EncodeRecords(pending_);
  pending_.clear();
  pending_bytes_ = pending_copied_ = 0;
  Chunk chunk;
  chunk.stage = stage_;
  chunk.sequence = chunk_count();
  const size_t raw_size = raw.size();
  chunk.payload = Compress(raw);
  if (chunk.payload.empty()) {
    chunk.payload = std::move(raw);
  } else {
    chunk.raw_size = raw_size;
    progress_->compressed += raw_size - chunk.payload.size();
  }
  chunk.checksum = XXH3_64bits(chunk.payload.data(), chunk.payload.size());
  checksums_.push_back(chunk.checksum);
  peer_->pace().Compressed(raw_size, chunk.payload.size());
  return chunk;
}

Status StageWriter::SendChunk() {
  if (pending_.empty()) return {};
  RETURN_IF_ERROR(EnsureBegun());
  Chunk chunk = TakeChunk();
  const size_t bytes = chunk.payload.size();
  while (!in_flight_.empty() && (in_flight_.size() >= kChunksInFlight ||
                                 in_flight_bytes_ + bytes > peer_->pace().window())) {
    RETURN_IF_ERROR(WaitForOldest());
  }
  RETURN_IF_ERROR(AwaitBandwidth(bytes));
  in_flight_bytes_ += bytes;
  const auto now = Pace::Clock::now();
  ASSIGN_OR_RETURN(Peer::Pending pending, peer_->Send(std::move(chunk)));
  in_flight_.push_back(
      {std::move(pending), std::exchange(pending_content_bytes_, 0), bytes, in_flight_bytes_, now});
  FAULT_POINT("source.ship.chunk_sent");
  return {};
}

Status StageWriter::WaitForOldest() {
  InFlight oldest = std::move(in_flight_.front());
  in_flight_.pop_front();
  const auto reply = oldest.answer.Wait();
  in_flight_bytes_ -= oldest.bytes;
  if (!reply) {
    if (reply.error().kind() == ErrorKind::kUnreachable) peer_->pace().Lost(Pace::Clock::now());
    return tl::unexpected<Error>(reply.error());
  }
  peer_->pace().Answered(oldest.sent, oldest.answer.took(), oldest.under_way);
  NoteTaken(oldest.content_bytes);
  return Peer::ToStatus(*reply);
}

void StageWriter::NoteTaken(uint64_t content_bytes) {
  progress_->unanswered_bytes -= content_bytes;
  progress_->answered_bytes += content_bytes;
}

Status StageWriter::Flush() {
  RETURN_IF_ERROR(SendChunk());
  while (!in_flight_.empty()) RETURN_IF_ERROR(WaitForOldest());
  return {};
}

Result<Reply> StageWriter::Commit(const CutName& cut, int64_t wall_time_ns) {
  replica::Commit commit;
  commit.stage = stage_;
  commit.base = base_;
  commit.cut = cut;
  commit.wall_time_ns = wall_time_ns;
  if (!begun_ && !pending_.empty() && peer_->TakesIncrements()) {
    return SendIncrement(commit);
  }
  RETURN_IF_ERROR(EnsureBegun());
  RETURN_IF_ERROR(Flush());
  FAULT_POINT("source.ship.before_commit");
  commit.chunk_count = chunk_count();
  commit.digest = DigestOf(checksums_);
  auto reply = AskAgainUntilAnswered(commit);
  FAULT_POINT("source.ship.after_commit");
  return reply;
}

Result<Reply> StageWriter::SendIncrement(replica::Commit commit) {
  Increment increment;
  // It goes on with no stage, and is too small to be gone on with.
  increment.begin = {stage_, base_};
  increment.chunk = TakeChunk();
  RETURN_IF_ERROR(AwaitBandwidth(increment.chunk.payload.size()));
  commit.chunk_count = chunk_count();
  commit.digest = DigestOf(checksums_);
  increment.commit = commit;
  increment.timeout_ms = static_cast<uint32_t>(kIncrementWaits.count());
  const uint64_t content_bytes = std::exchange(pending_content_bytes_, 0);
  FAULT_POINT("source.ship.before_commit");
  auto reply = AskAgainUntilAnswered(std::move(increment));
  if (reply && (reply->code == ReplyCode::kOk || reply->code == ReplyCode::kMissingObjects)) {
    begun_ = true;
    NoteTaken(content_bytes);
  }
  FAULT_POINT("source.ship.after_commit");
  return reply;
}

// Checking a large stage takes longer than an answer may. As long as the replica is there, the
// commit is sent again; it counts once.
Result<Reply> StageWriter::AskAgainUntilAnswered(const RequestBody& commit) {
  auto reply = peer_->Ask(commit);
  while (!reply && reply.error().kind() == ErrorKind::kUnreachable) {
    RETURN_IF_ERROR(peer_->AskFor<Position>(WaitApplied{base_, 0}));
    reply = peer_->Ask(commit);
  }
  return reply;
}

}  // namespace tandem::replica
