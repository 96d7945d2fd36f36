// What the source does about objects that fall short on the replica (replica/source/short_debts.h).
#include <algorithm>
#include <unordered_set>

#include "replica/source/sender.h"

namespace tandem::replica {
namespace {

// "." is the root itself. Returns nullopt if this is not the path of something below the root,
// whatever the replica says.
std::optional<std::vector<std::string>> SplitPath(const std::string& path) {
  std::vector<std::string> names;
  if (path == ".") return names;
  for (size_t at = 0; at <= path.size();) {
    const size_t end = std::min(path.find('/', at), path.size());
    names.push_back(path.substr(at, end - at));
    if (!IsValidName(names.back())) return std::nullopt;
    at = end + 1;
  }
  return names;
}

Result<bool> IsLargerThan(const meta::ObjectRef& object, uint64_t size,
                          const meta::SourceTree& tree) {
  const auto opened = tree.Open(object);
  if (!opened || !*opened) return false;  // shows when it is shipped
  const auto attributes = (*opened)->ReadAttributes(meta::WithXattrs::kNo);
  return attributes && attributes->size > size;
}

}  // namespace

bool Sender::IsShortObjectDue() {
  const auto due = view_.short_debts().NextDue();
  return due && *due <= CondVar::Clock::now();
}

Result<bool> Sender::ShipShortObjects(const meta::Layer& changes, uint64_t largest_file,
                                      Walker& walker) {
  ShortDebts& debts = view_.short_debts();
  const std::vector<ShortObject> due = debts.Due(changes, CondVar::Clock::now());
  const std::unordered_set<ObjectId> unreadable = FindUnreadableThere(due);
  bool shipped = false;
  for (const ShortObject& object : due) {
    ASSIGN_OR_RETURN(const auto found, FindShortObject(object));
    bool too_large = false;
    // The replica tries a name again with each cut, and could not replace what it cannot read.
    if (found && !object.by_name && !unreadable.contains(object.object)) {
      ASSIGN_OR_RETURN(too_large, IsLargerThan(*found, largest_file, tree_));
      // Or it is noted as lacking.
      if (!too_large && object.damaged) {
        RETURN_IF_ERROR(walker.ShipDamaged(*found, object.ranges));
      } else if (!too_large) {
        RETURN_IF_ERROR(walker.WalkNew(*found));
      }
      shipped |= !too_large;
    }
    if (!found) {
      debts.NoteMoved(object.object, CondVar::Clock::now());
    } else if (too_large) {
      debts.NoteHopeless(object.object);
    } else {
      debts.NoteTried(object.object, CondVar::Clock::now());
    }
  }
  return shipped;
}

// Returns those that would have to be sent, and that the replica cannot read; none if it does not
// say.
std::unordered_set<ObjectId> Sender::FindUnreadableThere(const std::vector<ShortObject>& objects) {
  std::unordered_set<ObjectId> unreadable;
  Find ask;
  for (const ShortObject& object : objects) {
    if (!object.by_name) ask.objects.push_back(object.object);
  }
  if (ask.objects.empty()) return unreadable;
  ask.origin = Origin::kDisk;
  const auto found = peer_->AskFor<Found>(ask);
  if (!found || found->objects.size() != ask.objects.size()) return unreadable;
  for (size_t i = 0; i < ask.objects.size(); ++i) {
    if (!found->objects[i].unreadable.empty()) unreadable.insert(ask.objects[i]);
  }
  return unreadable;
}

// Finds the object by its path at the replica's cut. Returns nullopt if it has moved since: the
// next cut says where to.
Result<std::optional<meta::ObjectRef>> Sender::FindShortObject(const ShortObject& object) {
  std::optional<meta::ObjectRef> at = tree_.root();
  const auto names = SplitPath(object.path);
  if (!names) return std::nullopt;
  for (const std::string& name : *names) {
    auto directory = tree_.OpenPath(*at);
    if (!directory && meta::IsUnreadable(directory.error())) return std::nullopt;
    ASSIGN_OR_RETURN(const std::optional<UniqueFd> fd, std::move(directory));
    if (!fd) return std::nullopt;
    auto child = tree_.Lookup(fd->get(), name.c_str());
    // It is no directory any more, for instance.
    if (!child) return std::nullopt;
    at = std::move(*child);
    if (!at) return std::nullopt;
  }
  if (at->id != object.object) return std::nullopt;
  return at;
}

}  // namespace tandem::replica
