#include "replica/source/lacking.h"

#include <utility>

#include "meta/tracker.h"

namespace tandem::replica {
namespace {

// Takes away from `change` what `other` holds as well. What is tried again comes as ranges, names
// and attributes, never as "whole" (Tracker::RetryDeferred).
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

void Lacking::StageAll() {
  for (const auto& [object, lack] : lacks_) staged_[object] = lack.change;
}

void Lacking::Stage(const meta::Layer& changes) {
  for (const auto& [object, lack] : lacks_) {
    const meta::ObjectChange* change = changes.Find(object);
    if (change != nullptr) staged_[object].MergeNewer(*change);
  }
}

void Lacking::NoteUnreadable(const ObjectId& object, const meta::ObjectChange& change,
                             std::string text) {
  if (const auto staged = staged_.find(object); staged != staged_.end()) {
    Subtract(staged->second, change);
  }
  Lack& lack = lacks_.try_emplace(object, Lack{{}, "", meta::BootTimeNs()}).first->second;
  lack.change.MergeNewer(change);
  lack.text = std::move(text);
}

std::vector<ObjectId> Lacking::StageApplied() {
  std::vector<ObjectId> whole;
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
