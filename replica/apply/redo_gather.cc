#include "replica/apply/redo_gather.h"

#include <fcntl.h>
#include <unistd.h>

#include <string_view>

#include "meta/base/fault_point.h"
#include "meta/base/printable.h"
#include "replica/apply/removal.h"

namespace tandem::replica {

Status Gatherer::Run() {
  RETURN_IF_ERROR(CollectPlaces());
  RETURN_IF_ERROR(VisitPlaces());
  bool searched = state_.place.marker.cut.IsNowhere();
  while (searched) {
    ASSIGN_OR_RETURN(searched, FindStrangers());
    RETURN_IF_ERROR(VisitPlaces());
  }
  RETURN_IF_ERROR(FindRenewed());
  RETURN_IF_ERROR(SearchRenewedDirectories());
  RETURN_IF_ERROR(VisitPlaces());
  RETURN_IF_ERROR(KeepUnvisitedStandingNames());
  RETURN_IF_ERROR(FindShortNames());
  return LinkMissingNames();
}

Result<ObjectId> Gatherer::LastingObjectOf(InodeId inode) {
  // Its content came as a file, which an earlier redo has already moved.
  if (const auto object = state_.plan.FindFile(inode)) return *object;
  ASSIGN_OR_RETURN(const auto object, state_.place.catalog.FindInode(inode));
  if (!object) return ObjectId();
  const Plan::Object* planned = state_.plan.Find(*object);
  const bool replaced = planned != nullptr && planned->fate == Plan::Fate::kReplace;
  return replaced ? ObjectId() : *object;
}

// Known objects in hold/ stay there. An interrupted redo made or set aside everything else.
Status Gatherer::CleanHold() {
  const int hold_fd = state_.tree.hold_fd();
  ASSIGN_OR_RETURN(const auto names, NamesIn(hold_fd));
  std::vector<std::string> unknown;
  for (const std::string& name : names) {
    const auto inode = InodeAt(hold_fd, name);
    if (!inode && MeansDamaged(inode.error())) continue;
    if (!inode) return tl::unexpected<Error>(inode.error());
    if (!*inode) continue;
    ASSIGN_OR_RETURN(const ObjectId object, LastingObjectOf(**inode));
    if (!object.is_null() && name == Tree::HoldName(object)) {
      state_.Hold(object, **inode);
    } else {
      unknown.push_back(name);
    }
  }
  const auto rescue = [this](int fd, const std::string& name) { return RescueIfKnown(fd, name); };
  for (const std::string& name : unknown) {
    Status removed = [&]() -> Status {
      ASSIGN_OR_RETURN(const bool rescued, RescueIfKnown(hold_fd, name));
      return rescued ? Status() : RemoveAll(hold_fd, hold_fd, name, rescue);
    }();
    if (!removed && !MeansDamaged(removed.error())) return removed;
  }
  return {};
}

// ---- Where to look -----------------------------------------------------------------------------

Status Gatherer::CollectNamesOf(ObjectId object) {
  if (!collected_.insert(object).second) return {};
  ASSIGN_OR_RETURN(const auto names, state_.place.catalog.NamesOf(object));
  for (const EntryKey& key : names) places_[key.parent].insert(key.name);
  return {};
}

// Other programs may have removed their names, or put something there.
Status Gatherer::FindDamaged() {
  DamagedObjects& damaged = state_.place.catalog.damaged();
  ASSIGN_OR_RETURN(const uint64_t count, damaged.Count());
  if (count == 0) return {};
  for (const auto& [object, planned] : state_.plan.objects()) {
    if (planned.fate != Plan::Fate::kKeep) continue;
    ASSIGN_OR_RETURN(const auto row, damaged.Find(object));
    if (!row) continue;
    damaged_.push_back(object);
    RETURN_IF_ERROR(CollectNamesOf(object));
  }
  return {};
}

Status Gatherer::CollectPlaces() {
  RETURN_IF_ERROR(FindDamaged());
  RETURN_IF_ERROR(CollectStandingNames());
  for (const auto& [key, child] : state_.plan.entries()) {
    // What an earlier redo has made of a new directory is removed with all that is in it.
    if (!state_.plan.IsNew(key.parent)) places_[key.parent].insert(key.name);
    // A child that moves is at another name now, possibly in a directory that is removed.
    if (!child.is_null() && !state_.plan.IsNew(child)) RETURN_IF_ERROR(CollectNamesOf(child));
  }
  for (const EntryKey& key : state_.plan.passing_names()) places_[key.parent].insert(key.name);
  for (const auto& [object, planned] : state_.plan.objects()) {
    if (planned.fate == Plan::Fate::kReplace) RETURN_IF_ERROR(CollectNamesOf(object));
  }
  return {};
}

// An interrupted redo may have moved a directory, which is then found only after the name it is at
// has been visited. Every directory between the root and it is where the catalog has it, in hold/,
// or at one of the places. So the search ends when a round finds nothing new.
Status Gatherer::VisitPlaces() {
  bool found = true;
  while (found && !places_.empty()) {
    found = false;
    for (auto place = places_.begin(); place != places_.end();) {
      ASSIGN_OR_RETURN(const bool visited, VisitDirectory(place->first, place->second));
      found |= visited;
      place = visited ? places_.erase(place) : std::next(place);
    }
  }
  // The directories that are left are not in the tree: they are new or lost.
  return {};
}

Result<bool> Gatherer::VisitDirectory(ObjectId directory, const Names& names) {
  const Plan::Object* planned = state_.plan.Find(directory);
  if (planned != nullptr && planned->fate == Plan::Fate::kCreate) return false;
  auto opened = state_.tree.OpenDirectory(directory);
  if (!opened && MeansDamaged(opened.error())) {
    RETURN_IF_ERROR(LetAllStand(directory, names, std::move(opened.error())));
    return true;
  }
  ASSIGN_OR_RETURN(const Tree::Directory fd, std::move(opened));
  if (fd == nullptr) return false;
  RETURN_IF_ERROR(MakeAccessible(fd->get()));
  for (const std::string& name : names) {
    RETURN_IF_ERROR(state_.CheckStopping());
    RETURN_IF_ERROR(VisitName(directory, fd->get(), name));
  }
  return true;
}

// ---- What to do there --------------------------------------------------------------------------

Status Gatherer::VisitName(ObjectId directory, int directory_fd, const std::string& name) {
  const EntryKey key{directory, name};
  auto found = InodeAt(directory_fd, name);
  if (!found && MeansDamaged(found.error())) {
    return LetStand(key, Standing::kUnknown, std::move(found.error()));
  }
  ASSIGN_OR_RETURN(const auto inode, std::move(found));
  if (!inode) return {};
  ASSIGN_OR_RETURN(const ObjectId object, LastingObjectOf(*inode));
  if (!object.is_null()) {
    ASSIGN_OR_RETURN(const ObjectId wanted, state_.plan.FinalChild(key));
    if (object == wanted) {
      state_.present.insert(key);
      // A hard link may be where the catalog has the object, or here.
      if (!state_.held.contains(object)) state_.tree.Placed(object, key, *inode);
      return {};
    }
    state_.touched.insert(directory);
    auto held = HoldKnown(object, *inode, directory_fd, name);
    if (held || !MeansDamaged(held.error())) return held;
    RETURN_IF_ERROR(LetStand(key, Standing::kAnother, held.error()));
    return state_.FallShort(object, std::move(held.error()));
  }
  state_.touched.insert(directory);
  RETURN_IF_ERROR(ReportIfStranger(directory, name, *inode));
  const auto rescue = [this](int fd, const std::string& child) { return RescueIfKnown(fd, child); };
  auto removed = state_.RemoveOrKeep(directory_fd, name, rescue);
  if (removed || !MeansDamaged(removed.error())) return removed;
  return LetStand(key, Standing::kAnother, std::move(removed.error()));
}

Status Gatherer::ReportIfStranger(ObjectId directory, const std::string& name, InodeId inode) {
  ASSIGN_OR_RETURN(const auto known, state_.place.catalog.FindInode(inode));
  return known ? Status() : state_.ReportStranger(directory, name);
}

Status Gatherer::HoldKnown(ObjectId object, InodeId inode, int directory_fd,
                           const std::string& name) {
  const int hold_fd = state_.tree.hold_fd();
  const std::string held = Tree::HoldName(object);
  if (state_.held.contains(object)) {
    // This is another hard link to an object that is in hold/ already.
    if (unlinkat(directory_fd, name.c_str(), 0) != 0) return ErrnoError("remove link " + name);
    return {};
  }
  if (geteuid() != 0) {
    // Moving a directory writes its "..".
    ASSIGN_OR_RETURN(const UniqueFd moved, OpenBeneath(directory_fd, name, O_PATH));
    ASSIGN_OR_RETURN(const auto there, InodeAt(moved.get(), ""));
    if (there == inode) RETURN_IF_ERROR(MakeAccessible(moved.get()));
  }
  if (renameat(directory_fd, name.c_str(), hold_fd, held.c_str()) != 0) {
    return ErrnoError("move " + name + " to hold/" + held);
  }
  state_.Hold(object, inode);
  FAULT_POINT("replica.redo.held");
  return {};
}

Result<bool> Gatherer::RescueIfKnown(int directory_fd, const std::string& name) {
  ASSIGN_OR_RETURN(const auto inode, InodeAt(directory_fd, name));
  if (!inode) return true;  // it is gone, so there is nothing to remove
  ASSIGN_OR_RETURN(const ObjectId object, LastingObjectOf(*inode));
  if (object.is_null()) return false;
  RETURN_IF_ERROR(HoldKnown(object, *inode, directory_fd, name));
  return true;
}

// ---- A tree that is at no cut ------------------------------------------------------------------

// Such a tree may have unknown objects anywhere: remains of another volume, of cuts that were lost,
// of objects that the catalog has forgotten. The source refers only to names that it or the catalog
// has, so nothing else would ever remove the others.
Result<bool> Gatherer::FindStrangers() {
  std::deque<ObjectId> directories = {kRootObject};
  directories.insert(directories.end(), state_.held_order.begin(), state_.held_order.end());
  bool searched = false;
  while (!directories.empty()) {
    RETURN_IF_ERROR(state_.CheckStopping());
    const ObjectId directory = directories.front();
    directories.pop_front();
    ASSIGN_OR_RETURN(const auto kind, state_.plan.FinalKind(directory));
    if (kind != meta::Kind::kDirectory || !searched_.insert(directory).second) continue;
    ASSIGN_OR_RETURN(const bool is_there, SearchDirectory(directory, directories));
    searched |= is_there;
  }
  return searched;
}

Result<bool> Gatherer::SearchDirectory(ObjectId directory, std::deque<ObjectId>& known) {
  ASSIGN_OR_RETURN(const Tree::Directory fd, OpenIfReadable(directory));
  if (fd == nullptr) return false;
  auto found = FindStrangersIn(directory, fd->get(), known);
  if (!found && MeansDamaged(found.error())) {
    found = LetAllStand(directory, {}, std::move(found.error()));
  }
  RETURN_IF_ERROR(found);
  return true;
}

Status Gatherer::FindStrangersIn(ObjectId directory, int directory_fd,
                                 std::deque<ObjectId>& known) {
  ASSIGN_OR_RETURN(const auto names, NamesIn(directory_fd));
  for (const std::string& name : names) {
    auto found = InodeAt(directory_fd, name);
    if (!found && MeansDamaged(found.error())) {
      RETURN_IF_ERROR(LetStand({directory, name}, Standing::kUnknown, std::move(found.error())));
      continue;
    }
    ASSIGN_OR_RETURN(const auto inode, std::move(found));
    if (!inode) continue;
    ASSIGN_OR_RETURN(const ObjectId object, LastingObjectOf(*inode));
    ASSIGN_OR_RETURN(const ObjectId wanted, state_.plan.FinalChild({directory, name}));
    const bool is_right = !object.is_null() && object == wanted;
    if (is_right) {
      known.push_back(object);
      continue;
    }
    places_[directory].insert(name);
    NoteMissingName({directory, name}, wanted);
  }
  return FindMissingNamesIn(directory, names);
}

// If the object has another name, nothing else would find that this one is gone. `names` are those
// in the directory.
Status Gatherer::FindMissingNamesIn(ObjectId directory, const std::vector<std::string>& names) {
  const std::unordered_set<std::string_view> there(names.begin(), names.end());
  ASSIGN_OR_RETURN(const auto entries, state_.place.catalog.EntriesOf(directory));
  for (const CatalogEntry& entry : entries) {
    EntryKey key{directory, entry.name};
    if (there.contains(entry.name)) continue;
    ASSIGN_OR_RETURN(const ObjectId wanted, state_.plan.FinalChild(key));
    NoteMissingName(std::move(key), wanted);
  }
  return {};
}

// Names that the stages set or remove are handled anyway.
void Gatherer::NoteMissingName(EntryKey key, ObjectId child) {
  if (child.is_null() || state_.plan.entries().contains(key)) return;
  state_.missing_names.emplace_back(std::move(key), child);
}

// ---- New names of objects that keep an old one -------------------------------------------------

Status Gatherer::LinkMissingNames() {
  for (const auto& [key, child] : state_.plan.entries()) {
    if (child.is_null() || state_.present.contains(key) || state_.held.contains(child)) continue;
    const Plan::Object* planned = state_.plan.Find(child);
    const bool stands =
        planned == nullptr || planned->fate == Plan::Fate::kKeep || planned->in_file;
    if (!stands) continue;
    RETURN_IF_ERROR(HoldLink(child));
  }
  for (const auto& [key, child] : state_.missing_names) {
    if (!state_.held.contains(child)) RETURN_IF_ERROR(HoldLink(child));
  }
  return {};
}

// Finds the names that the catalog has and the tree has not: it could not have them so far, or
// another program has removed them.
Status Gatherer::FindShortNames() {
  ShortObjects& short_objects = state_.place.catalog.short_objects();
  ASSIGN_OR_RETURN(const auto rows, short_objects.ListByName());
  for (const ShortObjects::Row& row : rows) RETURN_IF_ERROR(NoteMissingNamesOf(row.object));
  // They may have got names while they could not be read.
  for (const ShortObjects::Row& row : renewed_) RETURN_IF_ERROR(NoteMissingNamesOf(row.object));
  for (const ObjectId object : damaged_) {
    // If it has no name left it comes whole, and is made anew.
    ASSIGN_OR_RETURN(const UniqueFd standing, state_.tree.OpenReadable(object));
    if (standing.valid()) RETURN_IF_ERROR(NoteMissingNamesOf(object));
  }
  return {};
}

Status Gatherer::NoteMissingNamesOf(ObjectId object) {
  ASSIGN_OR_RETURN(const auto inode, state_.tree.InodeOf(object));
  ASSIGN_OR_RETURN(const auto names, state_.plan.FinalNames(object));
  for (const EntryKey& key : names) {
    auto opened = state_.tree.OpenDirectory(key.parent);
    if (!opened && MeansDamaged(opened.error())) {
      RETURN_IF_ERROR(state_.FallShort(object, std::move(opened.error()), /*by_name=*/true));
      continue;
    }
    ASSIGN_OR_RETURN(const Tree::Directory parent, std::move(opened));
    if (parent == nullptr) continue;
    auto standing = InodeAt(parent->get(), key.name);
    if (!standing && MeansDamaged(standing.error())) {
      RETURN_IF_ERROR(LetStand(key, Standing::kUnknown, std::move(standing.error())));
      continue;
    }
    if (!standing) return tl::unexpected<Error>(standing.error());
    if (*standing != inode) NoteMissingName(key, object);
  }
  return {};
}

// Links the object into hold/ from any name it has. If it has none, it is lost, which is found when
// it is placed.
Status Gatherer::HoldLink(ObjectId object) {
  ASSIGN_OR_RETURN(const auto inode, state_.tree.InodeOf(object));
  if (!inode) return {};
  ASSIGN_OR_RETURN(const auto names, state_.plan.FinalNames(object));
  const std::string held = Tree::HoldName(object);
  for (const EntryKey& key : names) {
    ASSIGN_OR_RETURN(const Tree::Directory parent, OpenIfReadable(key.parent));
    if (parent == nullptr) continue;
    const auto standing = InodeAt(parent->get(), key.name);
    if (!standing && !MeansDamaged(standing.error())) {
      return tl::unexpected<Error>(standing.error());
    }
    if (!standing || *standing != inode) continue;
    if (linkat(parent->get(), key.name.c_str(), state_.tree.hold_fd(), held.c_str(), 0) != 0) {
      const int code = errno;
      return state_.FallShort(object, ErrnoError(code, "link " + Printable(key.name)).value(),
                              /*by_name=*/true);
    }
    state_.present.insert(key);
    state_.Hold(object, *inode);
    return {};
  }
  return {};
}

}  // namespace tandem::replica
