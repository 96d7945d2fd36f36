// What the filesystem refuses to show, because it is damaged: it can neither be moved nor removed
// nor written. It stays where it is, and what it concerns falls short (DESIGN invariant 10).
#include <utility>

#include "meta/base/printable.h"
#include "replica/apply/redo_gather.h"

namespace tandem::replica {

// Names that an earlier redo could not remove, unless they have an object now.
Status Gatherer::CollectStandingNames() {
  ASSIGN_OR_RETURN(auto standing, state_.place.catalog.standing().List());
  state_.some_stood = !standing.empty();
  for (EntryKey& key : standing) {
    ASSIGN_OR_RETURN(const ObjectId wanted, state_.plan.FinalChild(key));
    ASSIGN_OR_RETURN(const bool possible, MayHaveStandingNames(key.parent));
    if (!wanted.is_null() || !possible) continue;
    places_[key.parent].insert(key.name);
    standing_.push_back(std::move(key));
  }
  return {};
}

// Their directories could not be opened.
Status Gatherer::KeepUnvisitedStandingNames() {
  for (const EntryKey& key : standing_) {
    const auto unvisited = places_.find(key.parent);
    if (unvisited != places_.end() && unvisited->second.contains(key.name)) {
      state_.standing.insert(key);
    }
  }
  return {};
}

// Returns null if it is not there, or, in which case it falls short, cannot be read.
Result<Tree::Directory> Gatherer::OpenIfReadable(ObjectId directory) {
  auto fd = state_.tree.OpenDirectory(directory);
  if (fd || !MeansDamaged(fd.error())) return fd;
  RETURN_IF_ERROR(LetAllStand(directory, {}, std::move(fd.error())));
  return Tree::Directory();
}

Result<bool> Gatherer::MayHaveStandingNames(ObjectId directory) {
  const Plan::Object* planned = state_.plan.Find(directory);
  if (planned != nullptr && planned->fate == Plan::Fate::kReplace) return false;
  ASSIGN_OR_RETURN(const auto kind, state_.plan.FinalKind(directory));
  if (kind != meta::Kind::kDirectory) return false;
  return state_.plan.IsAlive(directory);
}

Status Gatherer::FindRenewed() {
  ShortObjects& short_objects = state_.place.catalog.short_objects();
  ASSIGN_OR_RETURN(const bool none_short, short_objects.IsEmpty());
  if (none_short) return {};
  for (const auto& [object, planned] : state_.plan.objects()) {
    if (planned.fate != Plan::Fate::kKeep || planned.whole == 0) continue;
    ASSIGN_OR_RETURN(auto row, short_objects.Find(object));
    if (row) renewed_.push_back(std::move(*row));
  }
  return {};
}

// While one could not be read, nobody has looked into it.
Status Gatherer::SearchRenewedDirectories() {
  for (const ShortObjects::Row& row : renewed_) {
    const Plan::Object* planned = state_.plan.Find(row.object);
    if (row.by_name || planned->kind != meta::Kind::kDirectory) continue;
    std::deque<ObjectId> known;
    RETURN_IF_ERROR(SearchDirectory(row.object, known));
  }
  return {};
}

// Like LetStand, of a directory that cannot be opened.
Status Gatherer::LetAllStand(ObjectId directory, const Names& names, Error error) {
  ASSIGN_OR_RETURN(const bool possible, MayHaveStandingNames(directory));
  if (!possible) return {};
  for (const std::string& name : names) {
    ASSIGN_OR_RETURN(const ObjectId wanted, state_.plan.FinalChild({directory, name}));
    if (wanted.is_null()) state_.standing.insert({directory, name});
  }
  return state_.FallShort(directory, std::move(error));
}

// Nothing can be done about an inode that the filesystem refuses to show: neither moved nor removed
// nor written.
Status Gatherer::LetStand(const EntryKey& key, Standing standing, Error error) {
  ASSIGN_OR_RETURN(const ObjectId wanted, state_.plan.FinalChild(key));
  ASSIGN_OR_RETURN(const ObjectId before, state_.place.catalog.ChildOf(key));
  if (!wanted.is_null() && wanted == before) {
    const Plan::Object* planned = state_.plan.Find(wanted);
    // Else it is made anew, and stays in hold/.
    if (planned != nullptr && planned->fate == Plan::Fate::kReplace) return {};
    ASSIGN_OR_RETURN(const UniqueFd elsewhere, state_.tree.OpenReadable(wanted));
    if (elsewhere.valid()) {
      NoteMissingName(key, wanted);
      return {};
    }
    if (standing == Standing::kUnknown) state_.present.insert(key);
    return state_.FallShort(wanted, std::move(error));
  }
  // An object that is to have the name does not get it, and falls short when it is placed.
  if (!wanted.is_null()) return {};
  ASSIGN_OR_RETURN(const bool possible, MayHaveStandingNames(key.parent));
  if (!possible) return {};
  state_.standing.insert(key);
  return state_.FallShort(key.parent, std::move(error).Within("remove " + Printable(key.name)),
                          /*by_name=*/true);
}

}  // namespace tandem::replica
