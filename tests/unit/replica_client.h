// Talks to a Store as a source does, without a network. For tests of the replica's side.
#pragma once

#include <endian.h>
#include <stdlib.h>

#include <filesystem>
#include <string>
#include <vector>

#include "replica/store/store.h"
#include "replica/wire/chunk_payload.h"

namespace tandem::replica {

// A scratch directory on a real filesystem; removed at the end.
class ScratchDirectory {
 public:
  ScratchDirectory() {
    const char* base = getenv("TMPDIR");
    std::string pattern = std::string(base != nullptr ? base : "/tmp") + "/tandem-test-XXXXXX";
    path_ = mkdtemp(pattern.data());
  }
  ~ScratchDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Change sets of the volume that have been committed and not yet kept.
inline std::vector<std::filesystem::path> StagesIn(const std::string& store,
                                                   const std::string& volume = "vol") {
  std::vector<std::filesystem::path> stages;
  for (const auto& file : std::filesystem::directory_iterator(store + "/" + volume + "/stage")) {
    if (file.path().extension() == ".stage") stages.push_back(file.path());
  }
  return stages;
}

class ReplicaClient {
 public:
  explicit ReplicaClient(Store& store, std::string volume = "vol", VolumeId id = VolumeId(1, 1))
      : store_(&store), volume_(std::move(volume)), id_(id) {}

  // Asks over this connection from now on: as its peer.
  void ConnectAs(ConnectionRef connection) { connection_ = std::move(connection); }
  // Goes on with another store object on the same directory: a daemon restarted.
  void Use(Store& store) { store_ = &store; }

  Reply Ask(RequestBody body) {
    auto reply =
        DecodeReply(store_->Answer(EncodeRequest({session_, std::move(body)}), connection_));
    return reply ? *reply : Reply{ReplyCode::kBadRequest, reply.error().ToString(), {}, {}};
  }
  Reply Greet() {
    session_ = {};
    Reply reply = Ask(Hello{1, 1, volume_, id_, "test"});
    if (const auto* position = std::get_if<Position>(&reply.body)) {
      session_ = position->session;
      base_ = position->durable;
    }
    return reply;
  }
  Reply Begin(LifeId life = {}, int64_t begun_ns = 0) {
    stage_ = CutId::Random();
    checksums_.clear();
    Reply reply = Ask(replica::Begin{stage_, base_, 0, life, begun_ns});
    const auto* resumed = std::get_if<Resumed>(&reply.body);
    first_ = resumed == nullptr ? 0 : resumed->chunks;
    return reply;
  }
  replica::Chunk MakeChunk(const std::vector<Record>& records) {
    replica::Chunk chunk;
    chunk.stage = stage_;
    chunk.sequence = first_ + checksums_.size();
    chunk.payload = EncodeRecords(records);
    chunk.checksum = ChecksumOf(chunk.payload);
    checksums_.push_back(chunk.checksum);
    return chunk;
  }
  replica::Commit MakeCommit(CutName cut) {
    std::string bytes;
    for (uint64_t checksum : checksums_) {
      checksum = htole64(checksum);
      bytes.append(reinterpret_cast<const char*>(&checksum), sizeof checksum);
    }
    return {stage_, base_, cut, 12345, first_ + checksums_.size(), ChecksumOf(bytes)};
  }
  // The records as the only chunk of a new stage, from Begin until they are applied.
  replica::Increment MakeIncrement(const std::vector<Record>& records, CutName cut) {
    stage_ = CutId::Random();
    checksums_.clear();
    first_ = 0;
    replica::Increment increment;
    increment.begin = {stage_, base_};
    increment.chunk = MakeChunk(records);
    increment.commit = MakeCommit(cut);
    increment.timeout_ms = 10'000;
    return increment;
  }
  // A source's numbers go on, also if the replica is at no cut any more.
  CutName NextCut() const {
    const bool was_somewhere = base_.epoch == Epoch() && !base_.id.is_null();
    const Epoch next = was_somewhere ? Epoch(1000) : base_.epoch.Next();
    return {next, CutId(5, next.number())};
  }
  // Ok once applied. `per_chunk` records go into each chunk.
  Reply Ship(const std::vector<Record>& records, size_t per_chunk = 7) {
    if (Reply reply = Begin(); reply.code != ReplyCode::kOk) return reply;
    for (size_t at = 0; at < records.size(); at += per_chunk) {
      const auto end = std::min(at + per_chunk, records.size());
      const std::vector<Record> part(records.begin() + static_cast<ptrdiff_t>(at),
                                     records.begin() + static_cast<ptrdiff_t>(end));
      if (Reply reply = Ask(MakeChunk(part)); reply.code != ReplyCode::kOk) return reply;
    }
    return Finish(NextCut());
  }
  Reply Finish(CutName cut) {
    if (Reply reply = Commit(cut); reply.code != ReplyCode::kOk) return reply;
    return WaitApplied(cut);
  }
  // Does not wait until it is applied.
  Reply Commit(CutName cut) {
    Reply reply = Ask(MakeCommit(cut));
    if (reply.code == ReplyCode::kOk) base_ = cut;
    return reply;
  }
  Reply WaitApplied(CutName cut) {
    while (true) {
      Reply reply = Ask(replica::WaitApplied{cut, 1000});
      if (reply.code != ReplyCode::kOk) return reply;
      if (std::get<Position>(reply.body).applied == cut) return reply;
    }
  }
  const CutName& base() const { return base_; }
  CutId stage() const { return stage_; }
  SessionId session() const { return session_; }
  void set_session(SessionId session) { session_ = session; }

 private:
  Store* store_;
  std::string volume_;
  VolumeId id_;
  ConnectionRef connection_;
  SessionId session_;
  CutName base_;
  CutId stage_;
  uint64_t first_ = 0;  // the first chunk that is sent here
  std::vector<uint64_t> checksums_;
};

}  // namespace tandem::replica
