#include "replica/source/verifier.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "meta/base/log.h"
#include "replica/source/tuning.h"

namespace tandem::replica {

using std::chrono::milliseconds;

Verifier::Verifier(Options options, meta::Tracker& tracker, const meta::SourceTree& tree,
                   Sender& sender)
    : options_(std::move(options)),
      tracker_(tracker),
      tree_(tree),
      sender_(sender),
      tally_(options_.found_before),
      rate_(options_.bytes_a_second, options_.files_a_second),
      survey_({Digesting(), options_.full, SurveyWindow(),
               options_.bytes_a_second != 0 || options_.files_a_second != 0},
              tree, tally_, rate_, stopping_) {}

// With a limit so much that a part of a second is enough for it.
uint64_t Verifier::SurveyWindow() const {
  return options_.bytes_a_second == 0 ? kVerifyWindow
                                      : std::min(kVerifyWindow, options_.bytes_a_second / 4);
}

DigestOptions Verifier::Digesting() const {
  return {options_.block_size, options_.algorithm, options_.drop_caches, options_.allocation};
}

void Verifier::Run() {
  const Status status = VerifyAll();
  Checkpoint();
  // What is stored as left finds these again.
  const auto again = PathsReported();
  for (Difference& difference : unconfirmed_) {
    if (!again.contains(difference.path)) tally_.Report(std::move(difference));
  }
  tally_.Finish(status ? "" : status.error().ToString());
}

bool Verifier::Report(const Position& position, const char* kind, std::string path,
                      std::string what) {
  return tally_.Report({kind, std::move(path), std::move(what), false, position.applied.epoch});
}

void Verifier::ConfirmLater(const Item& item, bool kept) {
  if (options_.repair && !confirming_ && kept) to_confirm_.push_back(item);
}

Status Verifier::VerifyAll() {
  RETURN_IF_ERROR(AddRoots());
  has_roots_ = true;
  RETURN_IF_ERROR(Drain());
  return to_confirm_.empty() ? Status() : Confirm();
}

Status Verifier::Confirm() {
  for (Difference& difference : tally_.TakeDifferences()) {
    // Nothing of these was repaired.
    if (difference.kind == "unreadable") {
      tally_.Report(std::move(difference));
    } else {
      unconfirmed_.push_back(std::move(difference));
    }
  }
  confirming_ = true;
  survey_.ForgetNames();
  items_.assign(std::make_move_iterator(to_confirm_.begin()),
                std::make_move_iterator(to_confirm_.end()));
  to_confirm_.clear();
  Checkpoint();
  const Epoch repaired = tracker_.NewestChange();
  Patience patience = BePatient();
  while (sender_.WaitUntilApplied(repaired, CondVar::Clock::now() + kVerifyLook) ==
         Sender::Waited::kNotInTime) {
    // Something else may be lacking, which cannot be read.
    if (sender_.status().applied.epoch >= repaired) break;
    if (stopping_) return MakeError(ErrorKind::kCancelled, "verify: stopped");
    if (sender_.stopping()) return sender_.NotReached();
    RETURN_IF_ERROR(RefuseIfStuck(/*waits_for_changes=*/true));
    if (IsPatient(patience)) continue;
    return MakeError(ErrorKind::kUnreachable, "the repair has not reached the replica in time");
  }
  RETURN_IF_ERROR(Drain());
  const auto left = PathsReported();
  for (Difference& difference : std::exchange(unconfirmed_, {})) {
    if (left.contains(difference.path)) continue;
    difference.repaired = true;
    tally_.Report(std::move(difference));
  }
  return {};
}

std::unordered_set<std::string> Verifier::PathsReported() {
  std::unordered_set<std::string> paths;
  const size_t all = std::numeric_limits<size_t>::max();
  for (Difference& difference : tally_.report(0, all).differences) {
    paths.insert(std::move(difference.path));
  }
  return paths;
}

void Verifier::Checkpoint() {
  const auto begun = CondVar::Clock::now();
  if (options_.checkpoint != nullptr && has_roots_) options_.checkpoint(LeftNow());
  // Whatever there is to store, the verify goes on most of the time.
  const auto took = CondVar::Clock::now() - begun;
  next_checkpoint_ = CondVar::Clock::now() + kVerifyCheckpoint + 20 * took;
}

std::vector<VerifyLeft> Verifier::LeftNow() {
  std::vector<VerifyLeft> left;
  for (const Item& item : survey_.Left()) left.push_back(LeftOf(item));
  for (const Item& item : items_) left.push_back(LeftOf(item));
  for (const Item& item : postponed_) left.push_back(LeftOf(item));
  return left;
}

Status Verifier::AddLeft(const VerifyLeft& left) {
  auto item = Resolve(left.path);
  const bool was_renamed = !item || item->object.id != left.object.id;
  if (was_renamed && !left.object.id.is_null() && tree_.by_names() == nullptr) {
    item = Item{left.what, left.object, left.path, {}};
  } else if (!item && item.error().kind() == ErrorKind::kUsage) {
    // Removed, or renamed to where nothing will be looked for any more.
    tally_.AddUnjudged(left.path);
    return {};
  } else if (!item && meta::IsUnreadable(item.error())) {
    tally_.Report({"unreadable", left.path, item.error().ToString()});
    return {};
  }
  RETURN_IF_ERROR(item);
  item->what = left.what;
  if (left.what == Item::What::kName) item->name = left.name;
  item->after = left.after;
  item->up_to = left.up_to;
  item->offset = left.offset;
  item->end = left.end;
  const bool for_survey = left.what == Item::What::kNames || left.what == Item::What::kContent;
  if (for_survey) {
    survey_.Add(std::move(*item));
  } else {
    items_.push_back(std::move(*item));
  }
  return {};
}

Status Verifier::AddRoots() {
  if (!options_.left_before.empty()) {
    for (const VerifyLeft& left : options_.left_before) RETURN_IF_ERROR(AddLeft(left));
    return {};
  }
  if (options_.paths.empty()) {
    items_.push_back({Item::What::kObject, tree_.root(), ".", {}});
    return {};
  }
  for (const std::string& path : options_.paths) {
    ASSIGN_OR_RETURN(Item item, Resolve(path));
    items_.push_back(std::move(item));
  }
  return {};
}

Result<Verifier::Item> Verifier::Resolve(const std::string& path) {
  Item found{Item::What::kObject, tree_.root(), ".", {}};
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
    found.path = found.PathOf(name);
    found.parent = std::exchange(found.object, std::move(*child));
    found.name = name;
  }
  return found;
}

// Nothing lands on a replica that is blocked, and one that is away cannot be asked.
Status Verifier::RefuseIfStuck(bool waits_for_changes) {
  const ReplicaStatus status = sender_.status();
  if (status.state != ReplicaState::kBlocked &&
      !(status.state == ReplicaState::kPaused && waits_for_changes)) {
    return {};
  }
  return MakeError(ErrorKind::kUnreachable,
                   "replica " + status.name + " is " + NameOf(status.state) +
                       (status.error.empty() ? "" : " (" + status.error + ")") +
                       ": changes that it lacks cannot be judged until it goes on");
}

Verifier::Patience Verifier::BePatient() {
  return {CondVar::Clock::now() + kVerifyPatience, sender_.status().received_bytes};
}

bool Verifier::IsPatient(Patience& patience) {
  const ReplicaStatus now = sender_.status();
  const bool is_working = now.state == ReplicaState::kSeeding ||
                          now.state == ReplicaState::kReconciling ||
                          now.state == ReplicaState::kCatchingUp;
  if (is_working && now.received_bytes != patience.received_bytes) {
    patience = {CondVar::Clock::now() + kVerifyPatience, now.received_bytes};
  }
  return CondVar::Clock::now() < patience.until;
}

Status Verifier::RunTask(const Sender::Task& task) {
  Patience patience = BePatient();
  while (!stopping_) {
    if (auto done = sender_.TryTask(task, CondVar::Clock::now() + kVerifyLook)) {
      return std::move(*done);
    }
    RETURN_IF_ERROR(RefuseIfStuck(/*waits_for_changes=*/false));
    if (!IsPatient(patience)) return sender_.NotReached();
  }
  return MakeError(ErrorKind::kCancelled, "verify: stopped");
}

// Compares and judges everything queued; what was pending is judged again after it has landed.
Status Verifier::Drain() {
  while (true) {
    if (stopping_) return MakeError(ErrorKind::kCancelled, "verify: stopped");
    if (CondVar::Clock::now() >= next_checkpoint_) Checkpoint();
    RETURN_IF_ERROR(RepairAll());
    const bool surveys = !survey_.empty();
    const bool waits_for_changes = items_.empty() && !surveys;
    if (waits_for_changes && postponed_.empty()) return {};
    RETURN_IF_ERROR(RefuseIfStuck(waits_for_changes));
    if (!items_.empty()) {
      RETURN_IF_ERROR(RunTask(
          [this](Peer& peer, const Position& position) { return RunSlice(peer, position); }));
    } else if (surveys) {
      RETURN_IF_ERROR(RunSurvey());
    } else {
      // Nothing else is left. Give the changes a moment to land, then look again.
      sender_.WaitUntilApplied(tracker_.NewestChange(), CondVar::Clock::now() + milliseconds(500));
      items_.insert(items_.end(), std::make_move_iterator(postponed_.begin()),
                    std::make_move_iterator(postponed_.end()));
      postponed_.clear();
    }
  }
}

Status Verifier::RunSurvey() {
  std::optional<PeerSession> session;
  const Sender::Task find_session = [&session](Peer& peer, const Position&) -> Status {
    session = peer.session();
    return {};
  };
  RETURN_IF_ERROR(RunTask(find_session));
  const VerifyReport before = tally_.report(0, 0);
  // However long the sender has been busy, something is compared.
  const auto at_least = CondVar::Clock::now() + std::chrono::seconds(1);
  Status done = survey_.Run(*session, std::max(next_checkpoint_, at_least));
  for (Item& suspect : survey_.TakeSuspects()) items_.push_back(std::move(suspect));
  // The replica may have been applying a cut for long, or the session may have ended: again.
  if (done || done.error().kind() != ErrorKind::kUnreachable) return done;
  const VerifyReport after = tally_.report(0, 0);
  if (after.objects == before.objects && after.bytes == before.bytes) {
    if (++in_vain_ > kMaxSurveysInVain) return done;
  } else {
    in_vain_ = 0;
  }
  return {};
}

Status Verifier::RunSlice(Peer& peer, const Position& position) {
  const auto end = CondVar::Clock::now() + kVerifySlice;
  if (!applied_at_first_) applied_at_first_ = position.applied.epoch;
  while (!items_.empty() && CondVar::Clock::now() < end && !stopping_) {
    const Item item = std::move(items_.front());
    items_.pop_front();
    Status judged = Judge(peer, position, item);
    if (judged) continue;
    if (!meta::IsUnreadable(judged.error()) && !Peer::IsUnreadableThere(judged.error())) {
      items_.push_front(item);  // it is left
      return judged;
    }
    const bool is_name = item.what == Item::What::kName;
    Report(position, "unreadable", is_name ? item.PathOf(item.name) : item.path,
           judged.error().ToString());
  }
  return {};
}

Status Verifier::Judge(Peer& peer, const Position& position, const Item& item) {
  switch (item.what) {
    case Item::What::kName:
      return JudgeName(peer, position, item);
    case Item::What::kContent:
      if (item.end == 0) {  // all of the rest
        Item rest = item;
        rest.nothing_from = nullptr;
        survey_.Add(std::move(rest));
        return {};
      }
      tree_.NoteNameIfForgotten(item.object.id, item.parent.id, item.name);
      return JudgeContent(peer, position, item);
    case Item::What::kNames:
      survey_.Add(item);
      return {};
    case Item::What::kObject:
    case Item::What::kAttributes:
      break;
  }
  tree_.NoteNameIfForgotten(item.object.id, item.parent.id, item.name);
  return JudgeObject(peer, position, item);
}

void Verifier::Postpone(Item item) {
  if (++item.tries < kMaxJudgements) {
    postponed_.push_back(std::move(item));
    return;
  }
  tally_.AddUnjudged(item.what == Item::What::kName ? item.PathOf(item.name) : item.path);
}

Result<bool> Verifier::Pending(const Position& position, const ObjectId& object,
                               const IsPending& is_pending) {
  // An operation that has made its change but not yet recorded it is inside the gate.
  RETURN_IF_ERROR(tracker_.Settle());
  return is_pending(tracker_.ChangesAfter(position.applied.epoch, object));
}

}  // namespace tandem::replica
