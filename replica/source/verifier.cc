#include "replica/source/verifier.h"

#include <algorithm>
#include <utility>

#include "meta/base/log.h"
#include "replica/source/tuning.h"

namespace tandem::replica {

using std::chrono::milliseconds;

void Verifier::Run() {
  const Status status = VerifyAll();
  MutexLock lock(mutex_);
  if (!status) report_.error = status.error().ToString();
  report_.finished = true;
}

VerifyReport Verifier::report(size_t skip, size_t limit) {
  MutexLock lock(mutex_);
  VerifyReport copy;
  copy.objects = report_.objects;
  copy.bytes = report_.bytes;
  copy.unjudged = report_.unjudged;
  copy.finished = report_.finished;
  copy.error = report_.error;
  const size_t end = std::min(report_.differences.size(), skip + limit);
  if (skip < end) {
    copy.differences.assign(report_.differences.begin() + static_cast<ptrdiff_t>(skip),
                            report_.differences.begin() + static_cast<ptrdiff_t>(end));
  }
  return copy;
}

void Verifier::Report(Difference difference) {
  MutexLock lock(mutex_);
  report_.differences.push_back(std::move(difference));
}

Status Verifier::VerifyAll() {
  RETURN_IF_ERROR(AddRoots());
  RETURN_IF_ERROR(Drain());
  if (!repaired_something_) return {};

  // A second look, after the repair has landed, tells whether it worked.
  if (sender_.WaitUntilApplied(tracker_.NewestChange(), CondVar::Clock::now() + kVerifyPatience) ==
      Sender::Waited::kNotInTime) {
    return MakeError(ErrorKind::kUnreachable, "the repair has not reached the replica in time");
  }
  std::vector<Difference> before;
  {
    MutexLock lock(mutex_);
    before = std::exchange(report_.differences, {});
  }
  confirming_ = true;
  judged_.clear();
  RETURN_IF_ERROR(AddRoots());
  RETURN_IF_ERROR(Drain());
  MutexLock lock(mutex_);
  std::unordered_set<std::string> left;
  for (const Difference& difference : report_.differences) left.insert(difference.path);
  for (Difference& difference : before) {
    if (left.contains(difference.path)) continue;
    difference.repaired = true;
    report_.differences.push_back(std::move(difference));
  }
  return {};
}

Status Verifier::AddRoots() {
  if (options_.paths.empty()) {
    items_.push_back({Item::What::kObject, tree_.root(), ".", {}, {}, {}});
    return {};
  }
  for (const std::string& path : options_.paths) {
    ASSIGN_OR_RETURN(Item item, Resolve(path));
    items_.push_back(std::move(item));
  }
  return {};
}

Result<Verifier::Item> Verifier::Resolve(const std::string& path) {
  Item found{Item::What::kObject, tree_.root(), ".", {}, {}, {}};
  for (size_t at = 0; at < path.size();) {
    const size_t end = std::min(path.find('/', at), path.size());
    const std::string name = path.substr(at, end - at);
    at = end + 1;
    if (name.empty() || name == ".") continue;
    ASSIGN_OR_RETURN(std::optional<meta::ObjectRef> child, tree_.LookupIn(found.object, name));
    if (!child) {
      return MakeError(ErrorKind::kUsage,
                       "verify " + Printable(path) + ": there is no such file in the volume");
    }
    found.path = found.path == "." ? name : found.path + "/" + name;
    found.parent = std::exchange(found.object, std::move(*child));
    found.name = name;
  }
  return found;
}

// Judges everything queued; what was pending is judged again after it has landed.
Status Verifier::Drain() {
  while (!items_.empty() || !postponed_.empty()) {
    if (stopping_) return MakeError(ErrorKind::kCancelled, "verify: stopped");
    // Nothing lands on a replica that is blocked, and one that is away cannot be asked.
    const ReplicaStatus status = sender_.status();
    const bool waits_for_changes = items_.empty();
    if (status.state == ReplicaState::kBlocked ||
        (status.state == ReplicaState::kPaused && waits_for_changes)) {
      return MakeError(ErrorKind::kUnreachable,
                       "replica " + status.name + " is " + NameOf(status.state) +
                           (status.error.empty() ? "" : " (" + status.error + ")") +
                           ": changes that it lacks cannot be judged until it goes on");
    }
    if (waits_for_changes) {
      // Nothing else is left. Give the changes a moment to land, then look again.
      sender_.WaitUntilApplied(tracker_.NewestChange(), CondVar::Clock::now() + milliseconds(500));
      items_.insert(items_.end(), std::make_move_iterator(postponed_.begin()),
                    std::make_move_iterator(postponed_.end()));
      postponed_.clear();
    }
    RETURN_IF_ERROR(sender_.RunTask(
        [this](Peer& peer, const Position& position) { return RunSlice(peer, position); },
        CondVar::Clock::now() + kVerifyPatience));
  }
  return {};
}

Status Verifier::RunSlice(Peer& peer, const Position& position) {
  const auto end = CondVar::Clock::now() + kVerifySlice;
  while (!items_.empty() && CondVar::Clock::now() < end && !stopping_) {
    if (items_.front().what == Item::What::kContent) {
      RETURN_IF_ERROR(JudgeContents(peer, position));
      continue;
    }
    const Item item = std::move(items_.front());
    items_.pop_front();
    RETURN_IF_ERROR(ReportIfUnreadable(item, Judge(peer, position, item)));
  }
  return {};
}

Status Verifier::Judge(Peer& peer, const Position& position, const Item& item) {
  tree_.NoteNameIfForgotten(item.object.id, item.parent.id, item.name);
  return item.what == Item::What::kNames ? JudgeNames(peer, position, item)
                                         : JudgeObject(peer, position, item);
}

Status Verifier::ReportIfUnreadable(const Item& item, const Status& judged) {
  if (judged || !meta::IsUnreadable(judged.error())) return judged;
  Report({"unreadable", item.path, judged.error().ToString()});
  return {};
}

void Verifier::Postpone(Item item) {
  if (++item.tries < kMaxJudgements) {
    postponed_.push_back(std::move(item));
    return;
  }
  MutexLock lock(mutex_);
  report_.unjudged.push_back(std::move(item.path));
}

Result<bool> Verifier::Pending(const Position& position, const ObjectId& object,
                               const IsPending& is_pending) {
  // An operation that has made its change but not yet recorded it is inside the gate.
  RETURN_IF_ERROR(tracker_.Settle());
  return is_pending(tracker_.ChangesAfter(position.applied.epoch, object));
}

Status Verifier::RepairObject(const meta::ObjectRef& object, bool whole) {
  if (!options_.repair || confirming_) return {};
  ASSIGN_OR_RETURN(
      meta::Operation operation,
      tracker_.Begin(meta::Intent().Data(object, ByteRange::Whole()).Attributes(object)));
  if (whole) {
    operation.ChangedWholly(object);
  } else {
    operation.Wrote(object, ByteRange::Whole());
    operation.ChangedAttributes(object, meta::kAllAttributes);
  }
  repaired_something_ = true;
  return {};
}

Status Verifier::RepairName(const meta::ObjectRef& directory, const std::string& name) {
  if (!options_.repair || confirming_) return {};
  std::deque<std::pair<meta::ObjectRef, std::string>> left{{directory, name}};
  while (!left.empty() && !stopping_) {
    const auto [parent, entry] = std::move(left.front());
    left.pop_front();
    ASSIGN_OR_RETURN(const std::optional<meta::ObjectRef> child, RepairEntry(parent, entry));
    if (!child) continue;
    ASSIGN_OR_RETURN(const std::optional<meta::SourceObject> object, tree_.Open(*child));
    if (!object) continue;
    ASSIGN_OR_RETURN(const meta::Attributes attributes,
                     object->ReadAttributes(meta::WithXattrs::kNo));
    if (attributes.kind != meta::Kind::kDirectory) continue;
    ASSIGN_OR_RETURN(meta::SourceListing below, tree_.List(*object));
    for (meta::SourceEntry& one : below.entries) left.emplace_back(*child, std::move(one.name));
  }
  return {};
}

Status Verifier::RenewIdentity(const Item& directory, const meta::SourceEntry& ours,
                               ObjectId theirs) {
  ASSIGN_OR_RETURN(const std::optional<meta::SourceObject> object, tree_.Open(ours.object));
  if (!object) return {};
  ASSIGN_OR_RETURN(const meta::Attributes attributes,
                   object->ReadAttributes(meta::WithXattrs::kNo));
  const bool is_directory = attributes.kind == meta::Kind::kDirectory;
  {
    ASSIGN_OR_RETURN(meta::Operation operation,
                     tracker_.Begin(meta::Intent().Entries(directory.object)));
    operation.SetEntry(directory.object, ours.name, ours.object.id, theirs);
  }
  meta::Intent intent;
  intent.Data(ours.object, ByteRange::Whole()).Attributes(ours.object);
  if (is_directory) intent.Entries(ours.object);
  ASSIGN_OR_RETURN(meta::Operation operation, tracker_.Begin(intent));
  operation.ChangedWholly(ours.object);
  if (is_directory) operation.ChangedNames(ours.object);
  return {};
}

Result<std::optional<meta::ObjectRef>> Verifier::RepairEntry(const meta::ObjectRef& directory,
                                                             const std::string& name) {
  // Before the gate: the object may have to be searched for.
  ASSIGN_OR_RETURN(const std::optional<UniqueFd> opened, tree_.OpenPath(directory));
  if (!opened) return std::nullopt;
  ASSIGN_OR_RETURN(meta::Operation operation, tracker_.Begin(meta::Intent().Entries(directory)));
  ASSIGN_OR_RETURN(std::optional<meta::ObjectRef> child, tree_.Lookup(opened->get(), name.c_str()));
  operation.SetEntry(directory, name, child ? child->id : ObjectId(), ObjectId());
  operation.End();
  repaired_something_ = true;
  if (child) RETURN_IF_ERROR(RepairObject(*child, /*whole=*/true));
  return child;
}

}  // namespace tandem::replica
