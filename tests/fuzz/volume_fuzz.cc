// Drives a real volume with a sequence of requests, each encoded and decoded as on the wire, while
// another user plants links in its tree. After each sequence nothing outside the volume has
// changed, the volume opens again, and it still takes a change set.
//
// The volume has its own threads. A sequence waits for each cut it commits, so that the same input
// does the same again.
#include <errno.h>
#include <fcntl.h>
#include <fuzzer/FuzzedDataProvider.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "replica/wire/chunk_payload.h"
#include "replica/wire/messages.h"
#include "tests/fuzz/lib/fuzz.h"
#include "tests/fuzz/lib/records_from.h"
#include "tests/fuzz/lib/volume_box.h"

// Claimed room would be most of the work: tmpfs fills it with zeros. Volumes do without where a
// filesystem cannot preallocate.
extern "C" int fallocate(int, int, off_t, off_t) {
  errno = EOPNOTSUPP;
  return -1;
}

namespace tandem::fuzz {
namespace {

using namespace tandem::replica;  // NOLINT: every message is named here

class Sequence {
 public:
  Sequence(const uint8_t* bytes, size_t size) : data_(bytes, size) {}

  void Run() {
    Greet(true);
    if (data_.ConsumeBool()) Ship({SmallTree()});
    while (data_.remaining_bytes() > 0 && steps_++ < kMaxSteps) Step();
    Finish();
  }

 private:
  static constexpr int kMaxSteps = 64;

  // One in sixteen.
  bool Seldom() { return data_.ConsumeIntegralInRange(0, 15) == 15; }

  Reply Ask(RequestBody body) {
    const auto request = DecodeRequest(EncodeRequest({session_, std::move(body)}));
    if (!request) return {ReplyCode::kBadRequest, "not decoded", {}, {}};
    const auto* hello = std::get_if<Hello>(&request->body);
    Reply reply = hello != nullptr ? box_.volume().Greet(*hello, nullptr)
                                   : box_.volume().Handle(*request, nullptr);
    const auto decoded = DecodeReply(EncodeReply(reply));
    if (!decoded) fprintf(stderr, "%s\n", decoded.error().ToString().c_str());
    Require(decoded.has_value(), "a source can decode an answer");
    return reply;
  }

  void Note(const Reply& reply) {
    const auto* position = std::get_if<Position>(&reply.body);
    if (position == nullptr) return;
    base_ = position->durable;
    if (!position->session.is_null()) session_ = position->session;
  }

  void Greet(bool honest) {
    Hello hello{1, 1, VolumeBox::kName, VolumeBox::kVolume, "host:/path", RunId(1, 1)};
    if (!honest && Seldom()) hello.volume = VolumeId(2, 2);
    if (!honest && Seldom()) hello.run = RunId(2, 2);
    if (!honest && Seldom()) hello.protocol_newest = data_.ConsumeIntegral<uint32_t>();
    if (!honest && Seldom()) hello.volume_name = NameFrom(data_);
    const Reply reply = Ask(hello);
    Require(!honest || reply.code == ReplyCode::kOk, "the source of a volume is let in");
    if (reply.code == ReplyCode::kOk) Note(reply);
  }

  CutName OddCut() {
    const CutId id(5, data_.ConsumeIntegral<uint8_t>());
    return {Epoch(data_.ConsumeBool() ? NumberFrom(data_) : base_.epoch.number()), id};
  }

  void BeginStage() {
    stage_ = Seldom() ? stage_ : CutId(4, ++stages_);
    checksums_.clear();
    const LifeId life(7, Seldom() ? 1 : 0);  // null, mostly: such a stage is not gone on with
    (void)Ask(Begin{stage_, Seldom() ? OddCut() : base_, Seldom() ? NumberFrom(data_) : 0,
                    life.low() == 0 ? LifeId() : life, 5});
  }

  // As a source does it: in one stage, and what the replica lacks goes with it.
  void Ship(const std::vector<std::vector<Record>>& chunks) {
    stage_ = CutId(4, ++stages_);
    checksums_.clear();
    if (Ask(Begin{stage_, base_, 0}).code != ReplyCode::kOk) return;
    for (const auto& records : chunks) SendHonestly(records);
    const CutName cut = NextCut();
    Reply reply = Ask(CommitOf(cut));
    for (int i = 0; i < 3 && reply.code == ReplyCode::kMissingObjects; ++i) {
      std::vector<Record> missing;
      for (const ObjectId& object : reply.missing) missing.push_back(WholeObject(object));
      SendHonestly(missing);
      reply = Ask(CommitOf(cut));
    }
    if (reply.code == ReplyCode::kOk) Settle(cut);
  }

  void SendHonestly(const std::vector<Record>& records) {
    const std::string payload = EncodeRecords(records);
    const uint64_t checksum = ChecksumOf(payload);
    if (Ask(Chunk{stage_, checksums_.size(), 0, checksum, payload}).code == ReplyCode::kOk) {
      checksums_.push_back(checksum);
    }
  }

  CutName NextCut() {
    newest_ = std::max(base_.epoch.number(), newest_) + 1;
    return {Epoch(newest_), CutId(6, newest_)};
  }

  Commit CommitOf(const CutName& cut) const {
    return {stage_, base_, cut, 1, checksums_.size(), DigestOf(checksums_)};
  }

  void SendChunk() {
    const bool odd = data_.ConsumeBool();
    Chunk chunk{stage_, checksums_.size(), 0, 0, EncodeRecords(RecordsFrom(data_, odd))};
    if (Seldom()) chunk.sequence = NumberFrom(data_);
    if (Seldom()) {
      std::string packed(ZSTD_compressBound(chunk.payload.size()), '\0');
      packed.resize(ZSTD_compress(packed.data(), packed.size(), chunk.payload.data(),
                                  chunk.payload.size(), 1));
      chunk.raw_size = chunk.payload.size() + static_cast<uint64_t>(Seldom());
      chunk.payload = packed;
    }
    chunk.checksum = ChecksumOf(chunk.payload) + static_cast<uint64_t>(Seldom());
    const uint64_t checksum = chunk.checksum;
    if (Ask(std::move(chunk)).code == ReplyCode::kOk) checksums_.push_back(checksum);
  }

  void CommitStage() {
    CutName cut = NextCut();
    if (Seldom()) cut = OddCut();
    newest_ = std::max(newest_, std::min(cut.epoch.number(), uint64_t{1} << 40));
    Commit commit = CommitOf(cut);
    commit.chunk_count += static_cast<uint64_t>(Seldom());
    const Reply reply = Ask(commit);
    if (reply.code != ReplyCode::kOk) return;
    Settle(cut);
    if (Seldom()) (void)Ask(commit);
  }

  // Waits until the cut is applied, or the volume has found that it is at no cut.
  void Settle(const CutName& cut) {
    const Reply reply = Ask(WaitApplied{cut, 20'000});
    if (reply.code == ReplyCode::kUnknownSession) return Greet(true);
    if (reply.code != ReplyCode::kOk) fprintf(stderr, "%s\n", reply.message.c_str());
    Require(reply.code == ReplyCode::kOk, "what was committed can be applied");
    const auto& position = std::get<Position>(reply.body);
    Require(position.applied == position.durable, "what was committed is applied in time");
    Note(reply);
  }

  void Read() {
    const auto origin = data_.ConsumeBool() ? Origin::kDisk : Origin::kDatabase;
    switch (data_.ConsumeIntegralInRange(0, 3)) {
      case 0:
        (void)Ask(
            List{ObjectFrom(data_), origin, Seldom() ? NameFrom(data_) : "", data_.ConsumeBool()});
        return;
      case 1:
        (void)Ask(Find{{kRootObject, ObjectFrom(data_), ObjectFrom(data_), ObjectFrom(data_)},
                       origin,
                       data_.ConsumeBool()});
        return;
      case 2:
        (void)Ask(
            GetSignature{ObjectFrom(data_), NumberFrom(data_), data_.ConsumeIntegral<uint16_t>()});
        return;
      default:
        (void)Ask(GetDigests{ObjectFrom(data_),
                             NumberFrom(data_) & ~uint64_t{4095},
                             data_.ConsumeIntegral<uint16_t>(),
                             {4096, static_cast<HashAlgorithm>(data_.ConsumeIntegralInRange(0, 3)),
                              data_.ConsumeBool()}});
    }
  }

  // Another user at work in tree/: what stood at a name is exchanged for a way out.
  void Plant() {
    static const std::vector<std::string> names = {"", "/a", "/b", "/a/b", "/name", "/c/a"};
    const std::string path =
        box_.tree() + names[data_.ConsumeIntegralInRange<size_t>(1, names.size() - 1)];
    std::error_code ignored;
    // Not through a link that was planted before: what this does outside would be held against the
    // volume.
    const auto parent = std::filesystem::path(path).parent_path();
    if (std::filesystem::canonical(parent, ignored) != parent) return;
    if (data_.ConsumeBool()) std::filesystem::remove_all(path, ignored);
    switch (data_.ConsumeIntegralInRange(0, 3)) {
      case 0:
        (void)!symlink(box_.outside().c_str(), path.c_str());
        return;
      case 1:
        (void)!symlink((box_.outside() + "/canary").c_str(), path.c_str());
        return;
      case 2:
        (void)!rename(path.c_str(), (box_.tree() + "/moved").c_str());
        (void)!symlink(box_.outside().c_str(), path.c_str());
        return;
      default:
        (void)!mkfifo(path.c_str(), 0644);
    }
  }

  void Step() {
    switch (data_.ConsumeIntegralInRange(0, 15)) {
      case 0:
        return Greet(!data_.ConsumeBool());
      case 1:
        return BeginStage();
      case 2:
        return Ship({RecordsFrom(data_, false)});
      case 3:
        return Ship({RecordsFrom(data_, false), RecordsFrom(data_, false)});
      case 4:
        (void)Ask(WaitApplied{OddCut(), 1});
        return;
      case 5:
      case 6:
        return Read();
      case 7:
        if (Seldom()) {
          box_.Reopen();
          Greet(true);
        }
        return;
      case 8:
        return Plant();
      case 9:
      case 10:
      case 11:
        return CommitStage();
      default:
        return SendChunk();
    }
  }

  // The volume opens again, and takes a change set.
  void Finish() {
    box_.CheckContained();
    box_.Reopen();
    session_ = {};
    Greet(true);
    stage_ = CutId(8, 8);
    checksums_.clear();
    Require(Ask(Begin{stage_, base_, 0}).code == ReplyCode::kOk, "a stage can be begun");
    const CutName cut = NextCut();
    Require(Ask(CommitOf(cut)).code == ReplyCode::kOk,
            "a change set without changes can be committed");
    Settle(cut);
    box_.CheckContained();
  }

  FuzzedDataProvider data_;
  VolumeBox box_;
  SessionId session_;
  CutName base_;
  CutId stage_;
  uint64_t stages_ = 0;
  uint64_t newest_ = 0;
  int steps_ = 0;
  std::vector<uint64_t> checksums_;
};

}  // namespace
}  // namespace tandem::fuzz

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  tandem::fuzz::BeQuiet();
  umask(022);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  tandem::fuzz::Sequence(data, size).Run();
  return 0;
}
