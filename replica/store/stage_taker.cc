#include "replica/store/stage_taker.h"

#include <algorithm>
#include <utility>

#include "meta/base/fault_point.h"
#include "meta/base/log.h"
#include "meta/change/epoch_limit.h"
#include "replica/apply/plan.h"
#include "replica/apply/tree.h"
#include "replica/store/growth.h"
#include "replica/store/inspect.h"
#include "replica/store/redo_pause.h"
#include "replica/store/room_check.h"
#include "replica/store/volume_replies.h"
#include "replica/wire/chunk_payload.h"

namespace tandem::replica {
namespace {

bool HasData(const std::vector<Record>& records, Encoding encoding) {
  return std::ranges::any_of(records, [encoding](const Record& record) {
    const auto* data = std::get_if<DataRecord>(&record);
    return data != nullptr && data->encoding == encoding;
  });
}

}  // namespace

// ---- Begin and Chunk ---------------------------------------------------------------------------

void StageTaker::CloseStage() {
  const std::shared_ptr<Stage> stage = slot_.End();
  if (stage == nullptr) return;
  // A file that stays is discarded at the next start.
  if (const auto removed = stage->Remove(); !removed) {
    LogWarning("volume {}: {}", place_.name(), removed.error().ToString());
  }
}

void StageTaker::ParkStage() {
  const std::shared_ptr<Stage> stage = slot_.Open();
  if (stage == nullptr) return;
  if (stage->origin().source.is_null()) return CloseStage();
  stage->Park();
  slot_.PassOn(CutId(), nullptr);
}

void StageTaker::Restore(std::shared_ptr<Stage> stage) {
  MutexLock lock(mutex_);
  slot_.Put(std::move(stage), CutId());
}

std::optional<Resumed> StageTaker::TryResume(const Begin& begin) {
  const std::shared_ptr<Stage> stage = slot_.Open();
  if (stage == nullptr || begin.life.is_null() || stage->origin().source != begin.life ||
      stage->base() != begin.base) {
    return std::nullopt;
  }
  const auto chunks = stage->Resume(begin.stage);
  if (!chunks) LogWarning("volume {}: {}", place_.name(), chunks.error().ToString());
  if (!chunks || chunks->value_or(0) == 0) return std::nullopt;
  // What is void counts neither as records nor as content.
  uint64_t records = 0;
  const std::vector<const Outline*> outlines = stage->Outlines();
  for (const Outline* outline : outlines) {
    records += outline->data.size();
    for (const Outline::Object& object : outline->objects) {
      records += (object.again ? 0 : 1) + (object.with_content ? 1 : 0);
    }
  }
  auto index = std::make_shared<const StagedIndex>(outlines);
  records_ = records;
  content_ = std::min(stage->content().bytes(), index->content_bytes());
  slot_.PassOn(begin.stage, std::move(index));
  LogInfo("volume {}: going on with a change set of which {} bytes of content are here",
          place_.name(), content_.load());
  return Resumed{**chunks, stage->origin().begun_ns};
}

Reply StageTaker::Take(const Begin& begin, SessionId session) {
  MutexLock lock(mutex_);
  if (!queue_.IsSession(session)) return RefuseOldSession();
  if (auto refusal = RefuseUnlessFree(place_, begin.expected_bytes)) return *refusal;
  if (const auto& usage = place_.terms().usage) {
    if (const auto why = usage->RefuseStaged(place_.identity().name, begin.expected_bytes)) {
      return RefuseForQuota(place_, *why);
    }
  }
  if (slot_.Find(begin.stage) != nullptr) return resumed_ ? Ok(*resumed_) : Ok();
  if (slot_.HasEnded(begin.stage)) {
    return Refuse(ReplyCode::kUnknownStage, "the stage has ended; begin another");
  }
  if (auto refusal = queue_.RefuseUnlessDurable(begin.base)) return *refusal;
  resumed_ = TryResume(begin);
  if (resumed_) return Ok(*resumed_);
  CloseStage();
  auto stage = Stage::Create(place_.stage_fd(), place_.identity().volume, begin.stage, begin.base,
                             {begin.life, begin.begun_ns, place_.life()});
  if (!stage) return place_.Failure(stage.error());
  FAULT_POINT("replica.stage.begun");
  content_ = records_ = 0;
  slot_.Put(std::move(*stage), begin.stage);
  return Ok();
}

Reply StageTaker::Take(const GetStaged& get) {
  const StageSlot::Index index = slot_.IndexOf(get.stage);
  if (index == nullptr) {
    return Refuse(ReplyCode::kUnknownStage, "no such stage was gone on with; begin one");
  }
  StagedObjects staged;
  size_t ranges_left = kMaxStagedRangesInAll;
  for (const ObjectId& object : get.objects) {
    staged.objects.push_back(index->Find(object, std::min(ranges_left, kMaxStagedRanges)));
    ranges_left -= staged.objects.back().ranges.size();
  }
  return Ok(std::move(staged));
}

Reply StageTaker::Take(const Chunk& chunk) {
  const std::shared_ptr<Stage> stage = slot_.Find(chunk.stage);
  if (stage == nullptr) return Refuse(ReplyCode::kUnknownStage, "no such stage is open; begin one");
  if (ChecksumOf(chunk.payload) != chunk.checksum) {
    return Refuse(ReplyCode::kBadRequest, "a chunk arrived damaged");
  }
  const Stage::Taking taking(*stage, chunk.stage, chunk.sequence);
  if (!taking.possible()) return Refuse(ReplyCode::kUnknownStage, "the stage has just ended");
  if (const auto here = stage->ReceivedChecksum(chunk.sequence)) {
    if (*here == chunk.checksum) return Ok();
    return Refuse(ReplyCode::kBadRequest, "two chunks have one number");
  }
  auto records = UnpackRecords(chunk.payload, chunk.raw_size);
  if (!records) return place_.Failure(records.error());
  if (HasData(*records, Encoding::kStaged)) {
    return Refuse(ReplyCode::kBadRequest, "content that was not sent");
  }
  const bool has_deltas = HasData(*records, Encoding::kDelta) || HasData(*records, Encoding::kCopy);
  if (has_deltas) {
    if (auto refusal = reader_.ResolveDeltas(*records)) return *refusal;
  }
  const uint64_t content = Stage::ContentIn(*records).bytes();
  if (auto refusal = RefuseChunk(place_, *stage, content_, content)) return *refusal;
  if (auto refusal = RefuseRecords(place_, records_ + records->size())) return *refusal;
  const auto taken_out = stage->files().Take(*records, chunk.sequence);
  if (!taken_out) return place_.Failure(taken_out.error());
  ResolvedChunk resolved{chunk.sequence, chunk.raw_size, chunk.checksum, chunk.payload};
  if (has_deltas || *taken_out) {
    resolved.payload = EncodeRecords(*records);
    resolved.raw_size = 0;
    if (resolved.payload.size() > kMaxMessageBytes) {
      return Refuse(ReplyCode::kBadRequest, "the deltas of a chunk come to more than its limit");
    }
  }
  const auto appended = stage->Append(resolved, OutlineOf(*records), Stage::ContentIn(*records));
  if (!appended) return place_.Failure(appended.error());
  content_ += content;
  records_ += records->size();
  return Ok();
}

// ---- Commit ------------------------------------------------------------------------------------

Reply StageTaker::Take(const Commit& commit, SessionId session) {
  MutexLock lock(mutex_);
  if (!queue_.IsSession(session)) return RefuseOldSession();
  if (refused_ && refused_->commit == commit) return refused_->reply;
  if (commit.cut.epoch > meta::NewestPlausible(meta::kClocksDiffer)) {
    return Refuse(ReplyCode::kBadRequest,
                  "commit cut " + std::to_string(commit.cut.epoch.number()) +
                      ", which by the clock of the backup host no source can have reached yet (is "
                      "that clock behind?)");
  }
  // A Commit that is repeated after it was done.
  if (const Position now = queue_.PositionNow(); commit.cut == now.durable) return Ok(now);
  if (auto refusal = queue_.RefuseUnlessDurable(commit.base)) return *refusal;
  const std::shared_ptr<Stage> stage = slot_.Find(commit.stage);
  if (stage == nullptr) return Refuse(ReplyCode::kUnknownStage, "no such stage is open; begin one");
  if (stage->base() != commit.base) {
    return Refuse(ReplyCode::kWrongBase, "the stage was begun on another cut");
  }
  return CheckAndCommit(commit, stage);
}

Reply StageTaker::CheckAndCommit(const Commit& commit, const std::shared_ptr<Stage>& stage) {
  if (const auto complete = stage->CheckComplete(commit.chunk_count, commit.digest); !complete) {
    return place_.Failure(complete.error());
  }
  if (auto reply = CommitOnBlocked(commit, stage)) return *reply;
  // No redo begins until the stage is among those to be redone: what has to be applied again
  // meanwhile comes before it.
  const RedoPause pause(queue_);
  if (pause.refusal()) return *pause.refusal();
  if (auto refusal = queue_.RefuseUnlessDurable(stage->base())) return *refusal;
  std::unique_ptr<Plan> plan;
  if (auto refusal = CheckPlan(commit, stage, plan)) {
    const bool passes = refusal->code == ReplyCode::kBusy || refusal->code == ReplyCode::kNoSpace;
    if (!passes) refused_ = {commit, *refusal};
    return *refusal;
  }
  return Promise(commit, stage, std::move(plan));
}

Reply StageTaker::Promise(const Commit& commit, const std::shared_ptr<Stage>& stage,
                          std::unique_ptr<Plan> plan) {
  const auto committed =
      stage->Commit({commit.cut, commit.wall_time_ns, commit.chunk_count, commit.digest});
  if (!committed) {
    stage->ReleaseRoom();
    WithdrawGrowth();
  }
  if (!committed && committed.error().kind() == ErrorKind::kProtocol) {
    return place_.Failure(committed.error());
  }
  if (!committed) {
    // Whether the record reached the disk only the next start can tell; until then it did not.
    CloseStage();
    return place_.Failure(committed.error());
  }
  (void)slot_.End();
  return Ok(queue_.Promise(stage, {commit.cut, commit.wall_time_ns}, std::move(plan)));
}

// Anything that would keep the stage from being redone is found before the promise is given.
std::optional<Reply> StageTaker::CheckPlan(const Commit& commit,
                                           const std::shared_ptr<Stage>& stage,
                                           std::unique_ptr<Plan>& plan) {
  const KeptCatalog::Lock lock(catalog_);
  if (auto refusal = catalog_.RefuseUnlessCurrent()) return refusal;
  Catalog& catalog = catalog_.catalog();
  // The stage must not be on the disk before the ids it refers to.
  if (queue_.applied().IsNowhere() && catalog.HasUnkept()) {
    if (const auto kept = catalog_.Keep(); !kept) return place_.Failure(kept.error());
  }
  auto made = Plan::Make({stage}, catalog, place_.largest_file());
  if (!made) return place_.Failure(made.error());
  plan = std::move(*made);
  std::vector<ObjectId> missing = plan->missing();
  if (missing.empty()) {
    Tree tree(place_.root_fd(), place_.hold_fd(), catalog);
    ForeignEdits* const edits = queue_.applied().IsNowhere() ? nullptr : &report_.edits();
    auto absent = FindAbsent(*plan, catalog, tree, edits);
    if (!absent) return place_.Failure(absent.error());
    missing = std::move(*absent);
  }
  if (missing.empty()) {
    const bool of_no_moment = commit.cut.epoch == Epoch();
    if (auto refusal = PromiseGrowth(*plan, {stage}, nullptr, {}, catalog)) return refusal;
    RoomCheck room(place_, catalog);
    std::optional<Reply> refusal;
    if (of_no_moment) refusal = room.CheckThatItFrees(*plan, stage);
    if (!refusal) refusal = room.Ensure(*plan, {stage}, of_no_moment);
    if (refusal) WithdrawGrowth();
    return refusal;
  }
  if (missing.size() > kMaxFindObjects) missing.resize(kMaxFindObjects);
  return Reply{ReplyCode::kMissingObjects,
               "the replica lacks objects; send them whole",
               std::move(missing),
               {}};
}

// Nothing can be read meanwhile, so every object the stage speaks of has to be in it, or known. The
// catalog's lock keeps the redo waiting: it would begin without the stage.
std::optional<Reply> StageTaker::CommitOnBlocked(const Commit& commit,
                                                 const std::shared_ptr<Stage>& stage) {
  if (!queue_.IsBlockedForRoom()) return std::nullopt;
  const KeptCatalog::Lock lock(catalog_);
  if (const auto done = catalog_.ReturnLostCuts(); !done) return place_.Failure(done.error());
  if (!queue_.IsBlockedForRoom()) return std::nullopt;  // applied meanwhile
  if (auto refusal = queue_.RefuseUnlessDurable(stage->base())) return *refusal;
  Catalog& catalog = catalog_.catalog();
  const ApplyQueue::Stages blocked = queue_.pending();
  auto before = Plan::Make(blocked, catalog, place_.largest_file());
  if (!before) return place_.Failure(before.error());
  ApplyQueue::Stages stages = blocked;
  stages.push_back(stage);
  auto plan = Plan::Make(stages, catalog, place_.largest_file());
  if (!plan) return place_.Failure(plan.error());
  if (!(*plan)->missing().empty()) return queue_.Busy();
  if (auto refusal = RoomCheck(place_, catalog).EnsureOnTop(**plan, stages, **before, blocked)) {
    return refusal;
  }
  if (auto refusal = PromiseGrowth(**plan, stages, before->get(), blocked, catalog)) return refusal;
  return Promise(commit, stage);
}

// ---- What the account may have -----------------------------------------------------------------

std::optional<Reply> StageTaker::PromiseGrowth(const Plan& plan, const ApplyQueue::Stages& stages,
                                               const Plan* before,
                                               const ApplyQueue::Stages& blocked,
                                               Catalog& catalog) {
  growth_ = {};
  const auto& usage = place_.terms().usage;
  if (usage == nullptr || !usage->has_limit()) return std::nullopt;
  auto growth = GrowthOf(plan, stages, catalog);
  if (!growth) return place_.Failure(growth.error());
  if (before != nullptr) {  // whose growth is promised already
    const auto earlier = GrowthOf(*before, blocked, catalog);
    if (!earlier) return place_.Failure(earlier.error());
    growth->bytes -= earlier->bytes;
    growth->objects -= earlier->objects;
  }
  if (const auto why = usage->Promise(place_.identity().name, *growth)) {
    return RefuseForQuota(place_, *why);
  }
  growth_ = *growth;
  return std::nullopt;
}

void StageTaker::WithdrawGrowth() {
  if (const auto& usage = place_.terms().usage) {
    usage->Withdraw(place_.identity().name, std::exchange(growth_, {}));
  }
}

}  // namespace tandem::replica
