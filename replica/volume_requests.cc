// What a volume answers to Hello, Begin, Chunk, Commit and WaitApplied, and how it fails.
#include <fcntl.h>
#include <sys/statvfs.h>

#include <algorithm>

#include "meta/base/fault_point.h"
#include "meta/base/log.h"
#include "replica/chunk_payload.h"
#include "replica/inspect.h"
#include "replica/volume.h"
#include "replica/volume_inspection.h"

namespace tandem::replica {
namespace {

using std::chrono::milliseconds;

constexpr uint32_t kMaxWaitMs = 60'000;
// Requests of a stage that has ended may still arrive; they must not do anything.
constexpr size_t kClosedStagesKept = 64;

Reply Ok(ReplyBody body = {}) { return {ReplyCode::kOk, "", {}, std::move(body)}; }

// A source that is there says something every two seconds.
constexpr std::chrono::seconds kSourceSilence{10};

Reply Refuse(ReplyCode code, std::string message) { return {code, std::move(message), {}, {}}; }

bool HasData(const std::vector<Record>& records, Encoding encoding) {
  return std::ranges::any_of(records, [encoding](const Record& record) {
    const auto* data = std::get_if<DataRecord>(&record);
    return data != nullptr && data->encoding == encoding;
  });
}

std::string Named(const CutName& cut) {
  return std::to_string(cut.epoch.number()) + " (" + cut.id.ToHex() + ")";
}

}  // namespace

Reply Volume::Failure(const Error& error) const {
  const std::string what = "volume " + identity_.name + " of the replica: " + error.ToString();
  if (error.kind() == ErrorKind::kProtocol) return Refuse(ReplyCode::kBadRequest, what);
  if (error.code() == ENOSPC || error.code() == EDQUOT) {
    return Refuse(ReplyCode::kNoSpace, what + "; free space on the filesystem of " + path_);
  }
  return Refuse(ReplyCode::kIoError, what + "; see the log of tandemd, and the disk of " + path_);
}

Position Volume::PositionNow() {
  Position position;
  position.session = session_;
  position.protocol = kProtocolNewest;
  position.durable = durable_.name;
  position.applied = applied_.name;
  position.empty = empty_ && pending_.empty();
  position.notice = notices_.ToString();
  if (!start_notice_.empty()) {
    if (!position.notice.empty()) position.notice += "; ";
    position.notice += start_notice_;
  }
  return position;
}

Position Volume::PositionLocked() {
  MutexLock lock(mutex_);
  return PositionNow();
}

Reply Volume::BusyReply() {
  if (blocked_) return Failure(*blocked_);
  return Refuse(ReplyCode::kBusy,
                "volume " + identity_.name + ": a cut is being applied; ask again");
}

// ---- Sessions ----------------------------------------------------------------------------------

Reply Volume::Greet(const Hello& hello) {
  if (hello.protocol_oldest > kProtocolNewest || hello.protocol_newest < kProtocolOldest) {
    return Refuse(ReplyCode::kVersion,
                  "this tandemd speaks protocol " + std::to_string(kProtocolOldest) + " to " +
                      std::to_string(kProtocolNewest) + "; update the older side");
  }
  if (hello.volume != identity_.volume) {
    return Refuse(ReplyCode::kRefused,
                  "volume " + identity_.name +
                      " of this replica belongs to another source (its id is " +
                      identity_.volume.ToHex() +
                      "): mount with another "
                      "--volume NAME, or move " +
                      path_ + " away");
  }
  MutexLock commit_lock(commit_mutex_);
  {
    MutexLock lock(mutex_);
    const bool alive = CondVar::Clock::now() - last_request_ < kSourceSilence;
    if (alive && hello.source != session_source_) {
      return Refuse(ReplyCode::kRefused,
                    "volume " + identity_.name + " is being written by " + session_source_ +
                        ": end one of the two (a state directory was copied?)");
    }
  }
  CloseStage();
  MutexLock lock(mutex_);
  session_ = SessionId::Random();
  session_source_ = hello.source;
  last_request_ = CondVar::Clock::now();
  changed_.NotifyAll();
  spdlog::info("volume {}: session with {}, at cut {}", identity_.name, hello.source,
               applied_.name.epoch.number());
  return Ok(PositionNow());
}

Reply Volume::Handle(const Request& request) {
  {
    MutexLock lock(mutex_);
    if (request.session != session_) {
      return Refuse(ReplyCode::kUnknownSession, "another session has begun since; say Hello again");
    }
    last_request_ = CondVar::Clock::now();
  }
  return std::visit(
      [&](const auto& body) -> Reply {
        using Body = std::decay_t<decltype(body)>;
        if constexpr (std::is_same_v<Body, Hello>) {
          return Refuse(ReplyCode::kBadRequest, "Hello within a session");
        } else if constexpr (std::is_same_v<Body, WaitApplied>) {
          return Take(body, request.session);
        } else {
          return Take(body);
        }
      },
      request.body);
}

// ---- Stages ------------------------------------------------------------------------------------

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
    closed_stages_.push_back(stage->id());
    if (closed_stages_.size() > kClosedStagesKept) closed_stages_.pop_front();
  }
  // A file that stays is discarded at the next start.
  if (const auto removed = stage->Remove(); !removed) {
    spdlog::warn("volume {}: {}", identity_.name, removed.error().ToString());
  }
}

// The old tree stays until the new change set is whole: both need room. Better said before anything
// is sent than when the disk is full.
std::optional<Reply> Volume::CheckRoom(uint64_t bytes) {
  struct statvfs room = {};
  if (fstatvfs(fd_.get(), &room) != 0) return Failure(ErrnoError("ask for room").value());
  const uint64_t free = room.f_bavail * room.f_frsize;
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
      return Refuse(ReplyCode::kWrongBase, "the replica is at cut " + Named(durable_.name) +
                                               ", not at " + Named(begin.base));
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
  const auto appended = stage->Append(resolved, OutlineOf(*records));
  return appended ? Ok() : Failure(appended.error());
}

// ---- Commit ------------------------------------------------------------------------------------

Reply Volume::Take(const Commit& commit) {
  MutexLock commit_lock(commit_mutex_);
  {
    MutexLock lock(mutex_);
    if (commit.cut == durable_.name) return Ok(PositionNow());  // told again
    if (commit.base != durable_.name) {
      return Refuse(ReplyCode::kWrongBase, "the replica is at cut " + Named(durable_.name) +
                                               ", not at " + Named(commit.base));
    }
  }
  const std::shared_ptr<Stage> stage = OpenStage(commit.stage);
  if (stage == nullptr) return Refuse(ReplyCode::kUnknownStage, "no such stage is open; begin one");
  if (stage->base() != commit.base) {
    return Refuse(ReplyCode::kWrongBase, "the stage was begun on another cut");
  }
  return CheckAndCommit(commit, stage);
}

Reply Volume::CheckAndCommit(const Commit& commit, const std::shared_ptr<Stage>& stage) {
  if (const auto complete = stage->CheckComplete(commit.chunk_count, commit.digest); !complete) {
    return Failure(complete.error());
  }
  if (auto refusal = CheckPlan(stage)) return *refusal;
  const auto committed =
      stage->Commit({commit.cut, commit.wall_time_ns, commit.chunk_count, commit.digest});
  if (!committed) {
    // Whether the record reached the disk only the next start can tell; until then it did not.
    CloseStage();
    return Failure(committed.error());
  }
  MutexLock lock(mutex_);
  stage_.reset();
  closed_stages_.push_back(stage->id());
  if (closed_stages_.size() > kClosedStagesKept) closed_stages_.pop_front();
  durable_ = {commit.cut, commit.wall_time_ns};
  pending_.push_back(stage);
  changed_.NotifyAll();
  return Ok(PositionNow());
}

// Anything that would keep the stage from being redone is found before the promise is given.
std::optional<Reply> Volume::CheckPlan(const std::shared_ptr<Stage>& stage) {
  const Inspection inspection(*this);
  if (inspection.refusal()) return inspection.refusal();
  MutexLock lock(catalog_mutex_);
  auto plan = Plan::Make({stage}, *catalog_);
  if (!plan) return Failure(plan.error());
  std::vector<ObjectId> missing = (*plan)->missing();
  if (missing.empty()) {
    Tree tree(root_fd_.get(), hold_fd_.get(), *catalog_);
    auto absent = FindAbsent(**plan, *catalog_, tree);
    if (!absent) return Failure(absent.error());
    missing = std::move(*absent);
  }
  if (missing.empty()) return std::nullopt;
  if (missing.size() > kMaxFindObjects) missing.resize(kMaxFindObjects);
  return Reply{ReplyCode::kMissingObjects,
               "the replica lacks objects; send them whole",
               std::move(missing),
               {}};
}

Reply Volume::Take(const WaitApplied& wait, SessionId session) {
  const auto deadline = CondVar::Clock::now() + milliseconds(std::min(wait.timeout_ms, kMaxWaitMs));
  MutexLock lock(mutex_);
  while (true) {
    if (session != session_) {
      return Refuse(ReplyCode::kUnknownSession, "another session has begun since; say Hello again");
    }
    if (blocked_) {
      Reply reply = Failure(*blocked_);
      reply.body = PositionNow();
      return reply;
    }
    const bool under_way = wait.cut == durable_.name && durable_.name != applied_.name;
    if (!under_way || stopping_ || !changed_.WaitUntil(mutex_, deadline)) return Ok(PositionNow());
  }
}

}  // namespace tandem::replica
