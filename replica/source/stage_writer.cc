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

// Returns the bytes of content that the record brings; a hole brings none.
uint64_t ContentOf(const Record& record) {
  const auto* data = std::get_if<DataRecord>(&record);
  return data == nullptr || data->encoding == Encoding::kHole ? 0 : data->length;
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

Result<StageWriter> StageWriter::Begin(Peer& peer, ShipProgress& progress, const CutName& base,
                                       LifeId life, std::chrono::system_clock::time_point since) {
  StageWriter writer(peer, progress, CutId::Random(), base);
  progress.unanswered_bytes = 0;
  const int64_t begun_ns = std::chrono::nanoseconds(since.time_since_epoch()).count();
  ASSIGN_OR_RETURN(const Reply reply,
                   peer.Ask(replica::Begin{writer.stage_, base, 0, life, begun_ns}));
  RETURN_IF_ERROR(Peer::ToStatus(reply));
  if (const auto* resumed = std::get_if<Resumed>(&reply.body)) writer.resumed_ = *resumed;
  FAULT_POINT("source.ship.begun");
  return writer;
}

Status StageWriter::Expect(uint64_t bytes) {
  ASSIGN_OR_RETURN(const Reply reply, peer_->Ask(replica::Begin{stage_, base_, bytes}));
  return Peer::ToStatus(reply);
}

Status StageWriter::Add(Record record) {
  pending_bytes_ += SizeOf(record);
  const uint64_t content_bytes = ContentOf(record);
  pending_content_bytes_ += content_bytes;
  progress_->unanswered_bytes += content_bytes;
  pending_.push_back(std::move(record));
  ++records_;
  if (pending_bytes_ < peer_->pace().chunk_bytes() && pending_.size() < kChunkRecords) return {};
  return SendChunk();
}

Status StageWriter::SendChunk() {
  if (pending_.empty()) return {};
  std::string raw = EncodeRecords(pending_);
  pending_.clear();
  pending_bytes_ = 0;
  Chunk chunk;
  chunk.stage = stage_;
  chunk.sequence = chunk_count();
  const size_t raw_size = raw.size();
  chunk.payload = Compress(raw);
  if (chunk.payload.empty()) {
    chunk.payload = std::move(raw);
  } else {
    chunk.raw_size = raw.size();
  }
  chunk.checksum = XXH3_64bits(chunk.payload.data(), chunk.payload.size());
  checksums_.push_back(chunk.checksum);
  const size_t bytes = chunk.payload.size();
  peer_->pace().Compressed(raw_size, bytes);
  while (!in_flight_.empty() && (in_flight_.size() >= kChunksInFlight ||
                                 in_flight_bytes_ + bytes > peer_->pace().window())) {
    RETURN_IF_ERROR(WaitForOldest());
  }
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
  progress_->unanswered_bytes -= oldest.content_bytes;
  progress_->answered_bytes += oldest.content_bytes;
  return Peer::ToStatus(*reply);
}

Status StageWriter::Flush() {
  RETURN_IF_ERROR(SendChunk());
  while (!in_flight_.empty()) RETURN_IF_ERROR(WaitForOldest());
  return {};
}

Result<Reply> StageWriter::Commit(const CutName& cut, int64_t wall_time_ns) {
  RETURN_IF_ERROR(Flush());
  FAULT_POINT("source.ship.before_commit");
  replica::Commit commit;
  commit.stage = stage_;
  commit.base = base_;
  commit.cut = cut;
  commit.wall_time_ns = wall_time_ns;
  commit.chunk_count = chunk_count();
  commit.digest = DigestOf(checksums_);
  // Checking a large stage takes longer than an answer may. As long as the replica is there, the
  // commit is sent again; it counts once.
  auto reply = peer_->Ask(commit);
  while (!reply && reply.error().kind() == ErrorKind::kUnreachable) {
    RETURN_IF_ERROR(peer_->AskFor<Position>(WaitApplied{base_, 0}));
    reply = peer_->Ask(commit);
  }
  FAULT_POINT("source.ship.after_commit");
  return reply;
}

}  // namespace tandem::replica
