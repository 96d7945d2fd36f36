// What a volume answers to Hello, Commit and WaitApplied, and how it fails.
#include <algorithm>

#include "meta/base/log.h"
#include "meta/epoch_limit.h"
#include "replica/store/inspect.h"
#include "replica/store/volume.h"
#include "replica/store/volume_inspection.h"
#include "replica/store/volume_replies.h"

namespace tandem::replica {
namespace {

using std::chrono::milliseconds;

constexpr uint32_t kMaxWaitMs = 60'000;

}  // namespace

Reply Volume::Failure(const Error& error) const {
  const std::string what = "volume " + identity_.name + " of the replica: " + error.ToString();
  if (error.kind() == ErrorKind::kProtocol) return Refuse(ReplyCode::kBadRequest, what);
  if (MeansNoRoom(error)) {
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
  position.short_objects = short_objects_;
  position.short_count = short_count_;
  position.largest_file = largest_file_;
  for (const std::string& text :
       {notices_.ToString(), history_notice_, mounts_.Look(), edits_.ToString()}) {
    if (!text.empty() && !position.notice.empty()) position.notice += "; ";
    position.notice += text;
  }
  return position;
}

bool Volume::IsNowhere() {
  MutexLock lock(mutex_);
  return applied_.IsNowhere();
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

std::optional<Reply> Volume::RefuseSecond(const Hello& hello) {
  MutexLock lock(mutex_);
  if (!holder_.Refuses(hello, CondVar::Clock::now())) return std::nullopt;
  return Refuse(
      ReplyCode::kRefused,
      "volume " + identity_.name + " is being written by " + holder_.source() + ", and " +
          hello.source +
          " has the same identity: a machine or a state directory was cloned? End one of "
          "the two, and the other goes on by itself; to keep both, mount one of them with "
          "another --volume NAME and --state DIR");
}

Reply Volume::Greet(const Hello& hello, const ConnectionRef& connection) {
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
  // Before it waits for a commit of the other, and in case that one came back meanwhile.
  if (auto refusal = RefuseSecond(hello)) return *refusal;
  MutexLock commit_lock(commit_mutex_);
  if (auto refusal = RefuseSecond(hello)) return *refusal;
  CloseStage();
  MutexLock lock(mutex_);
  session_ = SessionId::Random();
  holder_.Take(hello, connection, CondVar::Clock::now());
  changed_.NotifyAll();
  LogInfo("volume {}: session with {}, at cut {}", identity_.name, hello.source,
          applied_.name.epoch.number());
  return Ok(PositionNow());
}

Reply Volume::Handle(const Request& request, const ConnectionRef& connection) {
  uint64_t turn = 0;
  {
    MutexLock lock(mutex_);
    if (request.session != session_) {
      return Refuse(ReplyCode::kUnknownSession, "another session has begun since; say Hello again");
    }
    turn = holder_.BeginRequest(connection, CondVar::Clock::now());
  }
  Reply reply = Dispatch(request);
  MutexLock lock(mutex_);
  holder_.EndRequest(turn, CondVar::Clock::now());
  return reply;
}

Reply Volume::Dispatch(const Request& request) {
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

// ---- Commit ------------------------------------------------------------------------------------

Reply Volume::Take(const Commit& commit) {
  MutexLock commit_lock(commit_mutex_);
  if (refused_ && refused_->commit == commit) return refused_->reply;
  if (commit.cut.epoch > meta::NewestPlausible(meta::kClocksDiffer)) {
    return Refuse(ReplyCode::kBadRequest,
                  "commit cut " + std::to_string(commit.cut.epoch.number()) +
                      ", which no source can have reached by now (is a clock wrong?)");
  }
  {
    MutexLock lock(mutex_);
    if (commit.cut == durable_.name) return Ok(PositionNow());  // told again
    if (commit.base != durable_.name) {
      return RefuseWrongBase(commit.base, durable_.name);
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
  if (auto reply = CommitOnBlocked(commit, stage)) return *reply;
  // No redo begins until it is among those to be redone: what has to be applied again meanwhile
  // comes before it.
  const Inspection inspection(*this);
  if (inspection.refusal()) return *inspection.refusal();
  {
    MutexLock lock(mutex_);
    if (stage->base() != durable_.name) return RefuseWrongBase(stage->base(), durable_.name);
  }
  if (auto refusal = CheckPlan(commit, stage)) {
    const bool passes = refusal->code == ReplyCode::kBusy || refusal->code == ReplyCode::kNoSpace;
    if (!passes) refused_ = {commit, *refusal};
    return *refusal;
  }
  return Promise(commit, stage);
}

Reply Volume::Promise(const Commit& commit, const std::shared_ptr<Stage>& stage) {
  const auto committed =
      stage->Commit({commit.cut, commit.wall_time_ns, commit.chunk_count, commit.digest});
  if (!committed) stage->ReleaseRoom();
  if (!committed && committed.error().kind() == ErrorKind::kProtocol) {
    return Failure(committed.error());
  }
  if (!committed) {
    // Whether the record reached the disk only the next start can tell; until then it did not.
    CloseStage();
    return Failure(committed.error());
  }
  MutexLock lock(mutex_);
  stage_.reset();
  NoteEnded(stage->id());
  durable_ = {commit.cut, commit.wall_time_ns};
  pending_.push_back(stage);
  changed_.NotifyAll();
  return Ok(PositionNow());
}

// Anything that would keep the stage from being redone is found before the promise is given. The
// caller holds an Inspection.
std::optional<Reply> Volume::CheckPlan(const Commit& commit, const std::shared_ptr<Stage>& stage) {
  MutexLock lock(catalog_mutex_);
  if (auto refusal = CheckCatalog()) return refusal;
  auto plan = Plan::Make({stage}, *catalog_, largest_file_);
  if (!plan) return Failure(plan.error());
  std::vector<ObjectId> missing = (*plan)->missing();
  if (missing.empty()) {
    Tree tree(root_fd_.get(), hold_fd_.get(), *catalog_);
    ForeignEdits* const edits = IsNowhere() ? nullptr : &edits_;
    auto absent = FindAbsent(**plan, *catalog_, tree, edits);
    if (!absent) return Failure(absent.error());
    missing = std::move(*absent);
  }
  if (missing.empty()) {
    const bool of_no_moment = commit.cut.epoch == Epoch();
    if (of_no_moment) {
      if (auto refusal = CheckThatItFrees(**plan, stage)) return refusal;
    }
    return EnsureRoom(**plan, {stage}, of_no_moment);
  }
  if (missing.size() > kMaxFindObjects) missing.resize(kMaxFindObjects);
  return Reply{ReplyCode::kMissingObjects,
               "the replica lacks objects; send them whole",
               std::move(missing),
               {}};
}

// It may have been set back while the caller waited for it.
std::optional<Reply> Volume::CheckCatalog() {
  if (const auto done = RedoWhatWasLost(); !done) return Failure(done.error());
  if (const auto free = CheckMounts(); !free) return Failure(free.error());
  MutexLock lock(mutex_);
  if (pending_.empty()) return std::nullopt;
  return BusyReply();
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
