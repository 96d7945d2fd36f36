#include "replica/source/walker.h"

#include <algorithm>
#include <unordered_map>

#include "meta/base/fault_point.h"
#include "replica/source/imported_objects.h"
#include "replica/source/tuning.h"

namespace tandem::replica {
namespace {

meta::ObjectChange EverythingOf(const meta::ObjectRef& object) {
  meta::ObjectChange change;
  change.handle = object.handle;
  change.AddWhole();
  return change;
}

// Every change of an object changes its ctime. An equal ctime, with equal size and times, is taken
// as proof that the object has not changed.
bool MayDiffer(const meta::Attributes& ours, const meta::Attributes& theirs) {
  return ours.kind != theirs.kind || ours.permissions != theirs.permissions ||
         ours.uid != theirs.uid || ours.gid != theirs.gid || ours.size != theirs.size ||
         ours.device != theirs.device || ours.modify_time != theirs.modify_time ||
         ours.change_time != theirs.change_time;
}

}  // namespace

Walker::Opened Walker::Open(const meta::ObjectRef& object) const {
  return AsReader(tree_.Open(object));
}

Status Walker::WalkDirectory(const meta::ObjectRef& directory, WalkDepth depth) {
  if (depth == WalkDepth::kAll) {
    if (replica_.is_empty) {
      ASSIGN_OR_RETURN(const bool shipped,
                       ShipNew(directory, Open(directory), {directory, true, depth}, ObjectId()));
      (void)shipped;  // its attributes are noted as lacking; its names are another matter
    } else {
      compares_all_ = true;
      met_.insert(directory.id);
      ASSIGN_OR_RETURN(const std::vector<Listed> known, FindOnReplica({directory.id}));
      RETURN_IF_ERROR(ShipDifference(directory, Open(directory), known.front()));
    }
  }
  tasks_.push_back({directory, replica_.is_empty, depth});
  return Run();
}

Result<bool> Walker::WalkNew(const meta::ObjectRef& object) {
  const WalkDepth depth = compares_all_ ? WalkDepth::kAll : WalkDepth::kNewOnly;
  const Task like{object, true, depth, /*check_disk=*/true};
  shipped_links_.erase(object.id);  // but what was shipped was not enough
  ASSIGN_OR_RETURN(const bool shipped, ShipNew(object, Open(object), like, ObjectId()));
  RETURN_IF_ERROR(Run());
  return shipped;
}

Result<bool> Walker::ShipDamaged(const meta::ObjectRef& object,
                                 const std::vector<ByteRange>& ranges) {
  auto found = tree_.Open(object);
  if (!found && meta::IsUnreadable(found.error())) {
    shipper_.NoteUnreadable(object, EverythingUnreadable(), found.error().ToString());
    return false;
  }
  ASSIGN_OR_RETURN(std::optional<meta::SourceObject> opened, std::move(found));
  if (!opened) return true;  // gone: that travels as a change of its own
  meta::ObjectChange change;
  change.handle = object.handle;
  change.attributes = meta::kAllAttributes;
  for (const ByteRange& range : ranges) change.data.Add(range);
  // Not as what differs from what the replica has: it needs whole blocks, to have digests of them.
  ASSIGN_OR_RETURN(const auto shipped, shipper_.Ship(object.id, *opened, change, {}));
  if (shipped) differing_.emplace(object.id, object.handle);
  return shipped.has_value();
}

Status Walker::WalkPassedBy(const meta::ObjectRef& object) {
  met_.insert(object.id);
  ASSIGN_OR_RETURN(const std::vector<Listed> known, FindOnReplica({object.id}));
  if (known.front().object.is_null()) return {};  // the replica will ask for it
  RETURN_IF_ERROR(ShipDifference(object, Open(object), known.front()));
  return Run();
}

Result<std::vector<ObjectId>> Walker::FindUnknown(const std::vector<ObjectId>& objects) {
  std::vector<ObjectId> unknown;
  if (replica_.is_empty) return unknown;
  ASSIGN_OR_RETURN(const std::vector<Listed> known, FindOnReplica(objects));
  for (size_t i = 0; i < known.size(); ++i) {
    if (known[i].object.is_null()) unknown.push_back(objects[i]);
  }
  return unknown;
}

std::optional<meta::ObjectRef> Walker::FindDiffering(const ObjectId& object) const {
  const auto found = differing_.find(object);
  if (found == differing_.end()) return std::nullopt;
  return meta::ObjectRef{object, found->second};
}

Status Walker::Run() {
  // If objects are found by their names, the names of the directories above must not be forgotten
  // meanwhile. They are not, since they are used all the time. Nothing is listed ahead then.
  const bool depth_first = tree_.by_names() != nullptr;
  while (!tasks_.empty()) {
    if (depth_first) {
      tasks_.push_front(std::move(tasks_.back()));
      tasks_.pop_back();
    }
    const size_t ahead = depth_first ? 1 : std::min(tasks_.size(), kMostPagesAhead);
    for (; listed_ < ahead; ++listed_) lists_.Want(WantedOf(tasks_[listed_]));
    const Task task = std::move(tasks_.front());
    tasks_.pop_front();
    --listed_;
    RETURN_IF_ERROR(Visit(task));
    FAULT_POINT("source.walk.directory");
  }
  return {};
}

ListAhead::Wanted Walker::WantedOf(const Task& task) const {
  tree_.NoteNameIfForgotten(task.directory.id, task.parent, task.name);
  // Objects that are found by their names are opened by them, which notes the names.
  const bool attributes =
      tree_.by_names() == nullptr && !task.unknown_to_replica && task.depth == WalkDepth::kAll;
  return {task.directory, task.unknown_to_replica ? task.counterpart : task.directory.id,
          attributes};
}

Status Walker::Visit(const Task& task) {
  ListAhead::Page page = lists_.Take();
  while (true) {
    if (page.failure && !meta::IsUnreadable(*page.failure)) {
      return tl::unexpected<Error>(std::move(*page.failure));
    }
    if (page.failure) NoteUnreadable(task, page.failure->ToString());
    if (page.directory == nullptr) return {};
    RETURN_IF_ERROR(VisitPage(task, page));
    if (!page.more) return {};
    page = lists_.Next();
  }
}

Status Walker::VisitPage(const Task& task, ListAhead::Page& page) {
  std::vector<Listed> theirs;
  if (!task.unknown_to_replica) {
    ASSIGN_OR_RETURN(theirs, NamesOnReplica(page, [&](const std::string& name) {
                       return stage_.Add(EntryRecord{task.directory.id, name, ObjectId()});
                     }));
    if (replica_.is_at_no_cut) {
      RETURN_IF_ERROR(RekeyImported(task, *page.directory, page.ours, theirs));
    }
  }
  RETURN_IF_ERROR(CompareNames(task, page.ours, theirs));
  if (task.unknown_to_replica && page.theirs) {
    ASSIGN_OR_RETURN(theirs, NamesOnReplica(page, [](const std::string&) -> Status { return {}; }));
  }
  const std::vector<meta::SourceEntry>& entries = page.ours.entries;
  ASSIGN_OR_RETURN(const std::vector<Listed> known, FindKnown(task, entries, theirs));
  return CompareObjects(task, page, known, BasesOf(entries, theirs));
}

Result<std::vector<Listed>> Walker::FindKnown(const Task& task,
                                              const std::vector<meta::SourceEntry>& entries,
                                              const std::vector<Listed>& theirs) {
  std::vector<Listed> known(entries.size());
  if (replica_.is_empty) return known;
  std::unordered_map<std::string_view, const Listed*> there;
  // Imported objects may have been given their ids since.
  const bool is_current = !task.unknown_to_replica && !replica_.is_at_no_cut;
  if (is_current) {
    for (const Listed& listed : theirs) there.emplace(listed.name, &listed);
  }
  std::vector<ObjectId> ids;
  std::vector<size_t> asked;
  for (size_t i = 0; i < entries.size(); ++i) {
    const auto same = there.find(entries[i].name);
    if (same != there.end() && same->second->object == entries[i].object.id) {
      known[i] = *same->second;
      continue;
    }
    ids.push_back(entries[i].object.id);
    asked.push_back(i);
  }
  ASSIGN_OR_RETURN(std::vector<Listed> found, FindOnReplica(ids));
  for (size_t i = 0; i < asked.size(); ++i) known[asked[i]] = std::move(found[i]);
  if (!task.check_disk) return known;
  ids.clear();
  for (const meta::SourceEntry& entry : entries) ids.push_back(entry.object.id);
  ASSIGN_OR_RETURN(const std::vector<Listed> on_disk, FindOnReplica(ids, Origin::kDisk));
  for (size_t i = 0; i < known.size(); ++i) {
    if (on_disk[i].object.is_null()) known[i] = {};
  }
  return known;
}

void Walker::NoteUnreadable(const Task& task, const std::string& why) {
  meta::ObjectChange change;
  change.listing = true;
  shipper_.NoteUnreadable(task.directory, change, why);
  if (task.depth == WalkDepth::kAll) uncompared_.insert(task.directory.id);
}

Walker::Bases Walker::BasesOf(const std::vector<meta::SourceEntry>& ours,
                              const std::vector<Listed>& theirs) {
  std::unordered_map<std::string_view, ObjectId> by_name;
  for (const Listed& listed : theirs) by_name.emplace(listed.name, listed.object);
  Bases bases;
  for (const meta::SourceEntry& entry : ours) {
    const auto same = by_name.find(entry.name);
    if (same != by_name.end() && same->second != entry.object.id) {
      bases.emplace(entry.object.id, same->second);
    }
  }
  return bases;
}

Status Walker::CompareNames(const Task& task, const meta::SourceListing& ours,
                            const std::vector<Listed>& theirs) {
  std::unordered_map<std::string_view, ObjectId> there;
  for (const Listed& listed : theirs) there.emplace(listed.name, listed.object);
  // The object keeps its id there.
  for (const auto& [name, error] : ours.unreadable) {
    NoteUnreadable(task, name + ": " + error.ToString());
  }
  for (const meta::SourceEntry& entry : ours.entries) {
    const auto same = there.find(entry.name);
    if (same != there.end() && same->second == entry.object.id) continue;
    RETURN_IF_ERROR(stage_.Add(EntryRecord{task.directory.id, entry.name, entry.object.id}));
  }
  return {};
}

void Walker::BeginReading(const Task& task, const ListAhead::Page& page,
                          const std::vector<Listed>& known) {
  if (tree_.by_names() != nullptr) return;
  std::vector<ReadAhead::Wanted> wanted;
  for (size_t i = 0; i < known.size(); ++i) {
    const meta::ObjectRef& object = page.ours.entries[i].object;
    const bool is_new = known[i].object.is_null();
    const bool is_first_met = compares_all_ && !met_.contains(object.id);
    if (!is_new && task.depth != WalkDepth::kAll && !is_first_met) continue;
    if (!is_new && !page.attributes.empty() && page.attributes[i]) continue;
    if (shipped_links_.contains(object.id)) continue;
    // Most of it is staged already, and its content is not read again.
    if (is_new && shipper_.goes_on()) continue;
    wanted.push_back({object, is_new});
  }
  ahead_.Begin(std::move(wanted));
}

Status Walker::CompareObjects(const Task& task, const ListAhead::Page& page,
                              const std::vector<Listed>& known, const Bases& bases) {
  const std::vector<meta::SourceEntry>& entries = page.ours.entries;
  std::vector<ObjectId> ids;
  for (const meta::SourceEntry& entry : entries) ids.push_back(entry.object.id);
  RETURN_IF_ERROR(shipper_.Expect(ids));
  BeginReading(task, page, known);
  for (size_t i = 0; i < entries.size(); ++i) {
    if (!keep_going_()) return MakeError(ErrorKind::kCancelled, "walk the source: stopping");
    const meta::ObjectRef& object = entries[i].object;
    const bool first_met = compares_all_ && met_.insert(object.id).second;
    const Met met{task.directory.id, entries[i].name};
    const auto open = [&] {
      return tree_.by_names() == nullptr
                 ? ahead_.Take(object)
                 : AsReader(tree_.OpenListed(*page.directory, task.directory.id, entries[i]));
    };
    if (known[i].object.is_null()) {
      const auto basis = bases.find(object.id);
      ASSIGN_OR_RETURN(
          const bool shipped,
          ShipNew(object, open(), task, basis == bases.end() ? ObjectId() : basis->second, met));
      if (shipped) continue;
      // An entry has named it already, and without it the stage cannot be committed.
      RETURN_IF_ERROR(stage_.Add(EntryRecord{task.directory.id, entries[i].name, ObjectId()}));
      NoteUnreadable(task, entries[i].name);
    } else if (task.depth == WalkDepth::kAll || first_met) {
      const bool is_listed = !page.attributes.empty() && page.attributes[i];
      RETURN_IF_ERROR(is_listed ? ShipIfDifferent(object, *page.attributes[i], known[i], met)
                                : ShipDifference(object, open(), known[i], met));
    }
  }
  return {};
}

Result<bool> Walker::ShipNew(const meta::ObjectRef& object, Opened found, const Task& like,
                             ObjectId basis, const Met& met) {
  if (shipped_links_.contains(object.id)) return true;
  if (!found && meta::IsUnreadable(found.error())) {
    shipper_.NoteUnreadable(object, EverythingUnreadable(), found.error().ToString());
    return false;
  }
  ASSIGN_OR_RETURN(const auto opened, std::move(found));
  if (opened == nullptr) return true;  // gone: that travels as a change of its own
  ASSIGN_OR_RETURN(const std::optional<meta::Attributes> attributes,
                   shipper_.Ship(object.id, *opened, EverythingOf(object), {basis, {}}));
  if (!attributes) return false;
  if (attributes->kind == meta::Kind::kDirectory) {
    // The root is asked for itself, by WalkDirectory.
    if (object.id != kRootObject) {
      tasks_.push_back({object, true, like.depth, like.check_disk, basis, met.parent, met.name});
    }
  } else if (attributes->link_count > 1) {
    shipped_links_.insert(object.id);
  }
  return true;
}

Status Walker::NoteUncompared(const meta::ObjectRef& object, const Error& error) {
  shipper_.NoteUnreadable(object, EverythingUnreadable(), error.ToString());
  uncompared_.insert(object.id);
  return {};
}

Status Walker::ShipDifference(const meta::ObjectRef& object, Opened found, const Listed& theirs,
                              const Met& met) {
  if (shipped_links_.contains(object.id)) return {};
  if (!found && meta::IsUnreadable(found.error())) return NoteUncompared(object, found.error());
  ASSIGN_OR_RETURN(const auto opened, std::move(found));
  if (opened == nullptr) return {};
  auto ours = opened->ReadAttributes(meta::WithXattrs::kNo);
  if (!ours && meta::IsUnreadable(ours.error())) return NoteUncompared(object, ours.error());
  if (!ours) return tl::unexpected<Error>(std::move(ours.error()));
  return ShipIfDifferent(object, *ours, theirs, met);
}

Status Walker::ShipIfDifferent(const meta::ObjectRef& object, const meta::Attributes& ours,
                               const Listed& theirs, const Met& met) {
  if (shipped_links_.contains(object.id)) return {};
  if (MayDiffer(ours, theirs.attributes) || theirs.changed > replica_.compare_after) {
    const bool same_kind = ours.kind == theirs.attributes.kind;
    meta::ObjectChange change = same_kind ? meta::ObjectChange() : EverythingOf(object);
    change.handle = object.handle;
    change.attributes = meta::kAllAttributes;
    if (same_kind && ours.kind == meta::Kind::kFile && !HasContentOf(ours, theirs)) {
      change.suspect.Add(ByteRange::Whole());
    }
    auto all = Open(object);  // what is known are attributes alone
    if (!all && meta::IsUnreadable(all.error())) return NoteUncompared(object, all.error());
    ASSIGN_OR_RETURN(const auto reader, std::move(all));
    if (reader == nullptr) return {};
    ASSIGN_OR_RETURN(const auto shipped, shipper_.Ship(object.id, *reader, change, {}));
    (void)shipped;  // or noted as lacking
    differing_.emplace(object.id, object.handle);
  }
  if (ours.kind == meta::Kind::kDirectory && object.id != kRootObject) {
    tasks_.push_back({object, false, WalkDepth::kAll, false, {}, met.parent, met.name});
  } else if (ours.link_count > 1) {
    shipped_links_.insert(object.id);
  }
  return {};
}

Result<std::vector<Listed>> Walker::NamesOnReplica(
    ListAhead::Page& page, const std::function<Status(const std::string&)>& other) {
  std::unordered_set<std::string_view> names;
  for (const meta::SourceEntry& entry : page.ours.entries) names.insert(entry.name);
  for (const auto& [name, error] : page.ours.unreadable) names.insert(name);
  std::vector<Listed> same;
  List ask = page.asked;
  ASSIGN_OR_RETURN(Reply reply, std::move(*page.theirs));
  size_t listed_names = 0;
  while (true) {
    ASSIGN_OR_RETURN(auto listing, peer_.ToListing(ask, std::move(reply), listed_names));
    if (!listing) return same;  // it has nothing there
    for (Listed& listed : listing->entries) {
      // An older replica does not know where the page ends.
      if (!ask.up_to.empty() && listed.name > ask.up_to) return same;
      if (names.contains(listed.name)) {
        same.push_back(std::move(listed));
      } else {
        RETURN_IF_ERROR(other(listed.name));
      }
    }
    if (!listing->more) return same;
    ask.after = listing->entries.back().name;
    ASSIGN_OR_RETURN(reply, peer_.Ask(ask));
  }
}

Result<std::vector<Listed>> Walker::FindOnReplica(const std::vector<ObjectId>& objects,
                                                  Origin origin) {
  std::vector<Listed> all;
  all.reserve(objects.size());
  for (size_t at = 0; at < objects.size(); at += kFindAtATime) {
    Find ask;
    ask.origin = origin;
    const size_t end = std::min(objects.size(), at + kFindAtATime);
    ask.objects.assign(objects.begin() + static_cast<ptrdiff_t>(at),
                       objects.begin() + static_cast<ptrdiff_t>(end));
    ASSIGN_OR_RETURN(Found found, peer_.AskFor<Found>(std::move(ask)));
    if (found.objects.size() != end - at) {
      return MakeError(ErrorKind::kProtocol,
                       "find: replica answered for another number of objects");
    }
    std::move(found.objects.begin(), found.objects.end(), std::back_inserter(all));
  }
  return all;
}

}  // namespace tandem::replica
