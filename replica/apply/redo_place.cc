#include "replica/apply/redo_place.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <string_view>
#include <unordered_set>

#include "meta/base/fault_point.h"
#include "meta/base/printable.h"
#include "replica/apply/removal.h"

namespace tandem::replica {
namespace {

Status MoveHere(int hold_fd, const std::string& held, int directory_fd, const std::string& name) {
  if (renameat2(hold_fd, held.c_str(), directory_fd, name.c_str(), RENAME_NOREPLACE) == 0) {
    return {};
  }
  // Some filesystems do not support RENAME_NOREPLACE. The name was found free before.
  if (errno == EINVAL && renameat(hold_fd, held.c_str(), directory_fd, name.c_str()) == 0) {
    return {};
  }
  return ErrnoError("move hold/" + held + " to " + name);
}

Status LinkHere(int hold_fd, const std::string& held, int directory_fd, const std::string& name) {
  if (linkat(hold_fd, held.c_str(), directory_fd, name.c_str(), 0) == 0) return {};
  return ErrnoError("link hold/" + held + " to " + name);
}

}  // namespace

Status Placer::PlaceAll() {
  RETURN_IF_ERROR(FindLost());
  // held_order grows during the loop when a lost directory is made.
  for (size_t i = 0; i < state_.held_order.size(); ++i) {
    RETURN_IF_ERROR(state_.CheckStopping());
    const ObjectId object = state_.held_order[i];
    if (auto placed = Place(object); !placed) {
      RETURN_IF_ERROR(state_.FallShort(object, std::move(placed.error()), /*by_name=*/true));
    }
  }
  return {};
}

// Makes the objects that are to get a name and are neither in hold/ nor at that name already.
Status Placer::FindLost() {
  for (const auto& [key, child] : state_.plan.entries()) {
    if (child.is_null() || state_.present.contains(key) || state_.held.contains(child)) continue;
    if (state_.fallen_short.contains(child)) continue;
    const Plan::Object* planned = state_.plan.Find(child);
    if (planned != nullptr && planned->made_in_place) continue;
    RETURN_IF_ERROR(MakeLost(child));
  }
  for (const auto& [key, child] : state_.missing_names) {
    if (state_.held.contains(child) || state_.fallen_short.contains(child)) continue;
    RETURN_IF_ERROR(MakeLost(child));
  }
  return {};
}

// What is damaged falls short instead: it could not be moved, or not even be made anew in hold/.
Status Placer::MakeLost(ObjectId object) {
  const auto standing = state_.tree.OpenObject(object);
  Status made = standing ? content_.MakeLost(object) : tl::unexpected<Error>(standing.error());
  if (made || !MeansDamaged(made.error())) return made;
  return state_.FallShort(object, std::move(made.error()));
}

Status Placer::Place(ObjectId object) {
  if (!state_.held.contains(object)) return {};
  ASSIGN_OR_RETURN(const auto names, state_.plan.FinalNames(object));
  std::vector<const EntryKey*> open;
  for (const EntryKey& key : names) {
    if (!state_.present.contains(key)) open.push_back(&key);
  }
  for (const EntryKey* key : open) RETURN_IF_ERROR(PlaceAt(object, *key, key == open.back()));
  return {};
}

Result<Tree::Directory> Placer::OpenParent(ObjectId directory) {
  ASSIGN_OR_RETURN(Tree::Directory fd, state_.tree.OpenDirectory(directory));
  if (fd != nullptr) return fd;
  RETURN_IF_ERROR(content_.MakeLost(directory));
  return state_.tree.OpenDirectory(directory);
}

Status Placer::PlaceAt(ObjectId object, const EntryKey& key, bool last) {
  const int hold_fd = state_.tree.hold_fd();
  const std::string held = Tree::HoldName(object);
  ASSIGN_OR_RETURN(const Tree::Directory parent, OpenParent(key.parent));
  if (parent == nullptr) return ErrnoError(ENOENT, "open directory " + key.parent.ToHex());
  const auto put = last ? MoveHere : LinkHere;
  auto done = put(hold_fd, held, parent->get(), key.name);
  if (!done && done.error().code() == EEXIST) {
    ASSIGN_OR_RETURN(const auto standing, InodeAt(parent->get(), key.name));
    ASSIGN_OR_RETURN(const auto inode, state_.tree.InodeOf(object));
    if (standing == inode) {
      state_.present.insert(key);
      return {};
    }
    RETURN_IF_ERROR(CheckNotOneName(*parent, key, standing));
    // Another program has put something here meanwhile.
    RETURN_IF_ERROR(state_.ReportStranger(key.parent, key.name));
    RETURN_IF_ERROR(RemoveAll(hold_fd, parent->get(), key.name, {}));
    done = put(hold_fd, held, parent->get(), key.name);
  }
  RETURN_IF_ERROR(done);
  state_.present.insert(key);
  state_.touched.insert(key.parent);
  state_.touched.insert(object);
  if (last) {
    state_.held.erase(object);
    ASSIGN_OR_RETURN(const auto inode, state_.tree.InodeOf(object));
    state_.tree.Placed(object, key, inode.value_or(InodeId()));
  }
  FAULT_POINT("replica.redo.entry_placed");
  return {};
}

// If the filesystem treats two names as the same (letters of either case), the other name stays.
// The directory then lists only that one; of an object with two links it lists both.
Status Placer::CheckNotOneName(const UniqueFd& parent, const EntryKey& key,
                               const std::optional<InodeId>& standing) {
  if (!standing) return {};
  ASSIGN_OR_RETURN(const auto listed, NamesIn(parent.get()));
  if (std::ranges::find(listed, key.name) != listed.end()) return {};
  ASSIGN_OR_RETURN(const auto other, state_.place.catalog.FindInode(*standing));
  if (!other) return {};
  ASSIGN_OR_RETURN(const auto names, state_.plan.FinalNames(*other));
  for (const EntryKey& name : names) {
    if (name.parent != key.parent || name.name == key.name) continue;
    ASSIGN_OR_RETURN(const auto there, InodeAt(parent.get(), name.name));
    if (there != standing) continue;
    return ErrnoError(EEXIST, "name it (on this filesystem that is the same name as " +
                                  Printable(name.name) + ")");
  }
  return {};
}

// Reports the names in a directory being removed that were not the replica's.
Status Placer::ReportStrangersIn(int directory_fd, const std::vector<std::string>& names) {
  Catalog& catalog = state_.place.catalog;
  ASSIGN_OR_RETURN(const auto inode, InodeAt(directory_fd, ""));
  ASSIGN_OR_RETURN(const auto directory, catalog.FindInode(inode.value_or(InodeId())));
  if (!directory) return {};  // the directory itself is unknown
  ASSIGN_OR_RETURN(const auto entries, catalog.EntriesOf(*directory));
  std::unordered_set<std::string_view> known;
  for (const CatalogEntry& entry : entries) known.insert(entry.name);
  for (const std::string& name : names) {
    if (!known.contains(name)) RETURN_IF_ERROR(state_.ReportStranger(*directory, name));
  }
  return {};
}

Status Placer::RemoveRest() {
  Census census;
  if (state_.place.edits != nullptr) {
    census = [this](int fd, const auto& names) { return ReportStrangersIn(fd, names); };
  }
  for (const ObjectId object : state_.held_order) {
    if (!state_.held.contains(object)) continue;
    if (state_.fallen_short.contains(object)) continue;  // it has names, but cannot get them
    RETURN_IF_ERROR(state_.CheckStopping());
    auto removed = state_.RemoveOrKeep(state_.tree.hold_fd(), Tree::HoldName(object), {}, census);
    // It is found there again once the filesystem is repaired.
    if (!removed && !MeansDamaged(removed.error())) return removed;
    state_.held.erase(object);
  }
  return {};
}

}  // namespace tandem::replica
