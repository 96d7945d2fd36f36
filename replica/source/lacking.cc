#include "replica/source/lacking.h"

#include <algorithm>
#include <utility>

#include "meta/capture/tracker.h"

namespace tandem::replica {
namespace {

// Takes away from `change` what `other` holds as well. What is tried again comes as ranges, names
// and attributes, never as "whole" (DeferredChanges::RetryDue).
void Subtract(meta::ObjectChange& change, const meta::ObjectChange& other) {
  for (const RangeSet* ranges : {&other.data, &other.suspect}) {
    for (const ByteRange& range : ranges->ToVector()) {
      change.data.Remove(range);
      change.suspect.Remove(range);
    }
  }
  change.attributes &= static_cast<uint8_t>(~other.attributes);
  if (change.attributes == meta::kNoAttributes) change.whole = false;
  if (other.whole || other.listing) change.listing = false;
}

}  // namespace

bool Lacking::empty() {
  MutexLock lock(mutex_);
  return lacks_.empty();
}

std::optional<Lacking::Summary> Lacking::Summarize() {
  MutexLock lock(mutex_);
  if (lacks_.empty()) return std::nullopt;
  Summary summary{lacks_.begin()->second.text, lacks_.begin()->second.since_ns};
  for (const auto& [object, lack] : lacks_) {
    summary.since_ns = std::min(summary.since_ns, lack.since_ns);
  }
  if (lacks_.size() > 1) {
    summary.text += " (and " + std::to_string(lacks_.size() - 1) + " others)";
  }
  return summary;
}

void Lacking::BeginStage() {
  MutexLock lock(mutex_);
  staged_.clear();
}

void Lacking::StageAll() {
  MutexLock lock(mutex_);
  for (const auto& [object, lack] : lacks_) staged_[object] = lack.change;
}

void Lacking::Stage(const meta::Layer& changes) {
  MutexLock lock(mutex_);
  for (const auto& [object, lack] : lacks_) {
    const meta::ObjectChange* change = changes.Find(object);
    if (change != nullptr) staged_[object].MergeNewer(*change);
  }
}

void Lacking::NoteUnreadable(const ObjectId& object, const meta::ObjectChange& change,
                             std::string text) {
  MutexLock lock(mutex_);
  if (const auto staged = staged_.find(object); staged != staged_.end()) {
    Subtract(staged->second, change);
  }
  Lack& lack = lacks_.try_emplace(object, Lack{{}, "", meta::BootTimeNs()}).first->second;
  lack.change.MergeNewer(change);
  lack.text = std::move(text);
}

std::vector<ObjectId> Lacking::StageApplied() {
  std::vector<ObjectId> whole;
  MutexLock lock(mutex_);
  for (const auto& [object, change] : std::exchange(staged_, {})) {
    const auto lack = lacks_.find(object);
    if (lack == lacks_.end()) continue;
    Subtract(lack->second.change, change);
    if (!lack->second.change.empty()) continue;
    lacks_.erase(lack);
    whole.push_back(object);
  }
  return whole;
}

}  // namespace tandem::replica
