#include "replica/source/short_debts.h"

#include <algorithm>

#include "meta/base/printable.h"
#include "meta/capture/tracker.h"
#include "replica/source/tuning.h"

namespace tandem::replica {

using std::chrono::milliseconds;

bool ShortDebts::empty() {
  MutexLock lock(mutex_);
  return count_ == 0;
}

void ShortDebts::Heard(const Position& position, Time now) {
  MutexLock lock(mutex_);
  if (count_ == 0 && position.short_count > 0) since_ns_ = meta::BootTimeNs();
  count_ = position.short_count;
  std::unordered_map<ObjectId, Debt> debts;
  for (const ShortObject& object : position.short_objects) {
    const auto before = debts_.find(object.object);
    Debt debt = before == debts_.end() ? Debt{{}, kShortRetryFirst, now} : before->second;
    debt.object = object;
    debts.emplace(object.object, std::move(debt));
  }
  debts_ = std::move(debts);
}

std::vector<ShortObject> ShortDebts::Due(const meta::Layer& changes, Time now) {
  std::vector<ShortObject> due;
  MutexLock lock(mutex_);
  for (const auto& [id, debt] : debts_) {
    const bool changed = changes.Find(id) != nullptr;
    if (debt.hopeless && !changed) continue;
    const milliseconds patience =
        changed ? std::min(debt.patience, kShortRetryChanged) : debt.patience;
    const bool at_once = changed && (debt.hopeless || debt.untried);
    if (at_once || debt.tried + patience <= now) due.push_back(debt.object);
  }
  return due;
}

std::optional<ShortDebts::Time> ShortDebts::NextDue() {
  std::optional<Time> next;
  MutexLock lock(mutex_);
  for (const auto& [id, debt] : debts_) {
    const Time due = debt.tried + debt.patience;
    if (!debt.hopeless && (!next || due < *next)) next = due;
  }
  return next;
}

void ShortDebts::NoteTried(const ObjectId& object, Time now) {
  MutexLock lock(mutex_);
  const auto debt = debts_.find(object);
  if (debt == debts_.end()) return;
  debt->second.patience = std::min(debt->second.patience * 2, kShortRetryLongest);
  debt->second.tried = now;
  debt->second.hopeless = false;
  debt->second.untried = false;
}

void ShortDebts::NoteMoved(const ObjectId& object, Time now) {
  MutexLock lock(mutex_);
  if (const auto debt = debts_.find(object); debt != debts_.end()) debt->second.tried = now;
}

void ShortDebts::NoteHopeless(const ObjectId& object) {
  MutexLock lock(mutex_);
  if (const auto debt = debts_.find(object); debt != debts_.end()) debt->second.hopeless = true;
}

void ShortDebts::TryAllAgain() {
  MutexLock lock(mutex_);
  for (auto& [id, debt] : debts_) {
    debt.patience = kShortRetryFirst;
    debt.tried = {};
    debt.hopeless = false;
  }
}

std::optional<ShortDebts::Summary> ShortDebts::Summarize() {
  MutexLock lock(mutex_);
  if (count_ == 0) return std::nullopt;
  if (debts_.empty()) {
    return Summary{std::to_string(count_) + " objects fall short on the replica", since_ns_};
  }
  const auto first = std::ranges::min_element(
      debts_, {}, [](const auto& debt) { return debt.second.object.path; });
  const ShortObject& one = first->second.object;
  std::string text = Printable(one.path) + " falls short on the replica: " + one.reason;
  if (count_ > 1) text += " (and " + std::to_string(count_ - 1) + " others)";
  text += "; all else is there, and it is sent again when it changes and once a minute";
  return Summary{std::move(text), since_ns_};
}

}  // namespace tandem::replica
