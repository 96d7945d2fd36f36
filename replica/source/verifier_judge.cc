// How the verifier compares objects: attributes and names.
#include <algorithm>
#include <string_view>

#include "replica/source/verifier.h"

namespace tandem::replica {
namespace {

std::string Octal(uint32_t mode) {
  char text[16];
  snprintf(text, sizeof text, "%04o", mode);
  return text;
}

std::string Versus(const std::string& what, const std::string& ours, const std::string& theirs) {
  return what + " " + ours + ", replica " + theirs;
}

std::string Show(const meta::Timestamp& time) {
  char text[48];
  snprintf(text, sizeof text, "%lld.%09u", static_cast<long long>(time.seconds), time.nanoseconds);
  return text;
}

// Returns the first thing in which they differ, not counting content and extended attributes; an
// empty string if there is none.
std::string AttributeDifference(const meta::Attributes& ours, const meta::Attributes& theirs) {
  if (ours.permissions != theirs.permissions) {
    return Versus("mode", Octal(ours.permissions), Octal(theirs.permissions));
  }
  if (ours.uid != theirs.uid || ours.gid != theirs.gid) {
    return Versus("owner", std::to_string(ours.uid) + ":" + std::to_string(ours.gid),
                  std::to_string(theirs.uid) + ":" + std::to_string(theirs.gid));
  }
  if (ours.size != theirs.size) {
    return Versus("size", std::to_string(ours.size), std::to_string(theirs.size));
  }
  if (ours.device != theirs.device) {
    return Versus("device", std::to_string(ours.device), std::to_string(theirs.device));
  }
  if (ours.link_target != theirs.link_target) {
    return Versus("target", Printable(ours.link_target), Printable(theirs.link_target));
  }
  if (ours.modify_time != theirs.modify_time) {
    return Versus("mtime", Show(ours.modify_time), Show(theirs.modify_time));
  }
  const bool has_links = ours.kind != meta::Kind::kDirectory;
  if (has_links && ours.link_count != theirs.link_count) {
    return Versus("links", std::to_string(ours.link_count), std::to_string(theirs.link_count));
  }
  return {};
}

std::vector<std::string> XattrDifferences(const meta::Xattrs& ours, const meta::Xattrs& theirs) {
  std::vector<std::string> differences;
  for (const auto& [name, value] : ours) {
    const auto found = theirs.find(name);
    if (found == theirs.end()) {
      differences.push_back(Printable(name) + " is missing on the replica");
    } else if (found->second != value) {
      differences.push_back(Printable(name) + " has another value on the replica");
    }
  }
  for (const auto& [name, value] : theirs) {
    if (!ours.contains(name)) differences.push_back(Printable(name) + " is only on the replica");
  }
  return differences;
}

}  // namespace

Status Verifier::JudgeObject(Peer& peer, const Position& position, const Item& item) {
  Find ask;
  ask.objects = {item.object.id};
  ask.origin = Origin::kDisk;
  ask.with_xattrs = true;
  ASSIGN_OR_RETURN(const Found found, peer.AskFor<Found>(std::move(ask)));
  if (found.objects.size() != 1) {
    return MakeError(ErrorKind::kProtocol, "find: replica answered for another number of objects");
  }
  ASSIGN_OR_RETURN(std::optional<meta::SourceObject> object, tree_.Open(item.object));
  if (!object) return {};
  if (!found.objects[0].object.is_null()) {
    return JudgeListed(position, item, *object, found.objects[0]);
  }
  // Removed on both sides since it was met, but in use: it can still be opened by its handle.
  ASSIGN_OR_RETURN(const meta::Attributes ours, object->ReadAttributes(meta::WithXattrs::kNo));
  if (ours.link_count == 0) return {};
  ASSIGN_OR_RETURN(const bool pending,
                   Pending(position, item.object.id,
                           [](const meta::ObjectChange& change) { return change.whole; }));
  if (pending) {
    Postpone(item);
    return {};
  }
  Report({"name", item.path, "is missing on the replica"});
  return item.name.empty() ? Status() : RepairName(item.parent, item.name);
}

Status Verifier::JudgeListed(const Position& position, const Item& item, meta::SourceObject& object,
                             const Listed& theirs) {
  ASSIGN_OR_RETURN(const meta::Attributes ours, object.ReadAttributes(meta::WithXattrs::kYes));
  if (item.what == Item::What::kObject) {
    MutexLock lock(mutex_);
    ++report_.objects;
  }
  std::vector<Difference> differences;
  if (ours.kind != theirs.attributes.kind) {
    differences.push_back({"kind", item.path,
                           Versus("is a", meta::NameOf(ours.kind),
                                  std::string("a ") + meta::NameOf(theirs.attributes.kind))});
  } else {
    std::string what = AttributeDifference(ours, theirs.attributes);
    if (!what.empty()) differences.push_back({"attribute", item.path, std::move(what)});
    for (std::string& one : XattrDifferences(ours.xattrs, theirs.attributes.xattrs)) {
      differences.push_back({"xattr", item.path, std::move(one)});
    }
  }
  if (!differences.empty()) {
    ASSIGN_OR_RETURN(const bool pending,
                     Pending(position, item.object.id,
                             [](const meta::ObjectChange& change) { return !change.empty(); }));
    // Links come and go with the entries of any directory; wait until nothing is pending anywhere.
    const bool links_pending = differences.front().what.starts_with("links") &&
                               tracker_.NewestChange() > position.applied.epoch;
    if (pending || links_pending) {
      Item again = item;
      again.what = Item::What::kAttributes;
      Postpone(std::move(again));
    } else {
      for (Difference& difference : differences) Report(std::move(difference));
      RETURN_IF_ERROR(RepairObject(item.object, ours.kind != theirs.attributes.kind));
    }
  }
  if (item.what == Item::What::kAttributes || ours.kind != theirs.attributes.kind) return {};
  Item next = item;
  next.tries = 0;
  if (ours.kind == meta::Kind::kDirectory) {
    next.what = Item::What::kNames;
    items_.push_front(std::move(next));
  } else if (ours.kind == meta::Kind::kFile && ours.size > 0 &&
             (ours.link_count == 1 || judged_.insert(item.object.id).second)) {
    next.what = Item::What::kContent;
    items_.push_front(std::move(next));
  }
  return {};
}

Result<std::shared_ptr<const Verifier::Names>> Verifier::ListOurs(
    const Item& item, const meta::SourceObject& directory) {
  if (item.names != nullptr) return item.names;
  auto names = std::make_shared<Names>();
  if (!item.only.empty()) {
    ASSIGN_OR_RETURN(auto found, tree_.LookupIn(item.object, item.only));
    if (found) names->entries.push_back({item.only, std::move(*found)});
    return std::shared_ptr<const Names>(std::move(names));
  }
  ASSIGN_OR_RETURN(meta::SourceListing listed, tree_.List(directory));
  names->entries = std::move(listed.entries);
  for (const auto& [name, error] : listed.unreadable) {
    names->unreadable.insert(name);
    Report({"unreadable", item.path == "." ? name : item.path + "/" + name, error.ToString()});
  }
  return std::shared_ptr<const Names>(std::move(names));
}

// Judges a page of names: both sides are in byte order and are merged.
Status Verifier::JudgeNames(Peer& peer, const Position& position, const Item& item) {
  ASSIGN_OR_RETURN(const std::optional<meta::SourceObject> directory, tree_.Open(item.object));
  if (!directory) return {};
  ASSIGN_OR_RETURN(const meta::Attributes attributes,
                   directory->ReadAttributes(meta::WithXattrs::kNo));
  if (attributes.link_count == 0) return {};  // removed since it was met, but in use
  ASSIGN_OR_RETURN(const std::shared_ptr<const Names> names, ListOurs(item, *directory));
  List ask;
  ask.directory = item.object.id;
  ask.origin = Origin::kDisk;
  ask.with_xattrs = true;
  // A single name is not looked for from the beginning.
  ask.after = item.only.empty() || !item.after.empty() ? item.after
                                                       : item.only.substr(0, item.only.size() - 1);
  size_t listed = item.listed;
  ASSIGN_OR_RETURN(const std::optional<Listing> page, peer.ListPage(ask, listed));
  if (!page) {
    return MakeError(ErrorKind::kSystem, "list " + item.path + " on the replica: not found",
                     ENOENT);
  }
  const bool more = page->more && (item.only.empty() || page->entries.back().name < item.only);
  if (more) {  // comes after what this page leads to
    Item next = item;
    next.listed = listed;
    next.after = page->entries.back().name;
    next.names = names;
    items_.push_front(std::move(next));
  }
  const auto& ours = names->entries;
  auto our = std::ranges::upper_bound(ours, item.after, {}, &meta::SourceEntry::name);
  const auto judge = [&](const meta::SourceEntry* one, const Listed* theirs) -> Status {
    Status judged = JudgeName(position, item, one, theirs);
    if (judged || !meta::IsUnreadable(judged.error())) return judged;
    const std::string& name = one != nullptr ? one->name : theirs->name;
    Report({"unreadable", item.path == "." ? name : item.path + "/" + name,
            judged.error().ToString()});
    return {};
  };
  const auto judge_ours_before = [&](const std::string* name) -> Status {
    for (; our != ours.end() && (name == nullptr || our->name < *name); ++our) {
      if (stopping_) return MakeError(ErrorKind::kCancelled, "verify: stopped");
      RETURN_IF_ERROR(judge(&*our, nullptr));
    }
    return {};
  };
  for (const Listed& theirs : page->entries) {
    if (stopping_) return MakeError(ErrorKind::kCancelled, "verify: stopped");
    if (names->unreadable.contains(theirs.name)) continue;
    if (!item.only.empty() && theirs.name != item.only) continue;
    RETURN_IF_ERROR(judge_ours_before(&theirs.name));
    const bool both = our != ours.end() && our->name == theirs.name;
    RETURN_IF_ERROR(judge(both ? &*our++ : nullptr, &theirs));
  }
  return more ? Status() : judge_ours_before(nullptr);
}

Status Verifier::JudgeCommon(const Position& position, const Item& directory,
                             const meta::SourceEntry& ours, const Listed& theirs) {
  const std::string path = directory.path == "." ? ours.name : directory.path + "/" + ours.name;
  Item child{Item::What::kObject, ours.object, path, directory.object, ours.name};
  tree_.NoteNameIfForgotten(ours.object.id, directory.object.id, ours.name);
  ASSIGN_OR_RETURN(std::optional<meta::SourceObject> object, tree_.Open(ours.object));
  if (!object) return {};
  return JudgeListed(position, child, *object, theirs);
}

Status Verifier::JudgeName(const Position& position, const Item& directory,
                           const meta::SourceEntry* listed, const Listed* theirs) {
  // Our side of the first page has just been listed. Since then others may have been renamed over
  // what is on the later ones.
  const bool is_fresh = directory.after.empty();
  if (is_fresh && listed != nullptr && theirs != nullptr && listed->object.id == theirs->object) {
    return JudgeCommon(position, directory, *listed, *theirs);
  }
  const std::string& name = listed != nullptr ? listed->name : theirs->name;
  const std::string path = directory.path == "." ? name : directory.path + "/" + name;
  std::optional<meta::SourceEntry> ours;
  ASSIGN_OR_RETURN(std::optional<meta::ObjectRef> found, tree_.LookupIn(directory.object, name));
  if (found) ours = meta::SourceEntry{name, std::move(*found)};
  if (!ours && theirs == nullptr) return {};
  if (ours && theirs != nullptr && ours->object.id == theirs->object) {
    return JudgeCommon(position, directory, *ours, *theirs);
  }
  ASSIGN_OR_RETURN(
      const bool pending,
      Pending(position, directory.object.id, [&name](const meta::ObjectChange& change) {
        return change.listing || change.entries.contains(name);
      }));
  const bool has_other_id = ours && theirs != nullptr && !theirs->object.is_null();
  const bool renews = !pending && has_other_id && tree_.ids_may_change() && directory.tries == 0;
  if (renews) RETURN_IF_ERROR(RenewIdentity(directory, *ours, theirs->object));
  if (pending || renews) {
    // Only this name is looked at again.
    Item again = directory;
    again.what = Item::What::kNames;
    again.only = name;
    again.after.clear();
    again.listed = 0;
    again.names = nullptr;
    if (directory.only.empty()) again.tries = 0;
    Postpone(std::move(again));
    return {};
  }
  if (theirs == nullptr) {
    Report({"name", path, "is missing on the replica"});
  } else if (!ours) {
    Report({"name", path, "is only on the replica"});
  } else {
    Report({"link", path, "leads to another object on the replica"});
  }
  return RepairName(directory.object, name);
}

}  // namespace tandem::replica
