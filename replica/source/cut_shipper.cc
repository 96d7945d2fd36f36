#include "replica/source/cut_shipper.h"

#include <algorithm>
#include <iterator>
#include <set>

#include "replica/source/similar_names.h"
#include "replica/source/tuning.h"

namespace tandem::replica {

CutShipper::NewNames CutShipper::NewNamesOf(const meta::Layer& changes) {
  NewNames names;
  for (const meta::ChangeSet& shard : changes.shards) {
    for (const auto& [directory, change] : shard) {
      for (const auto& [name, entry] : change.entries) {
        if (entry.child.is_null() || entry.child == entry.replaced) continue;
        const auto [known, is_new] = names.try_emplace(
            entry.child, NewName{{directory, change.handle}, &name, entry.replaced});
        if (!is_new && known->second.replaced.is_null()) known->second.replaced = entry.replaced;
      }
    }
  }
  return names;
}

Result<bool> CutShipper::Ship(const std::shared_ptr<meta::FrozenCut>& cut) {
  shipped_.push_back(cut);
  const auto names = NewNamesOf(cut->changes());
  if (objects_.LooksForKnown()) {
    RETURN_IF_ERROR(objects_.LookForSmall(SmallFilesOf(cut->changes(), names)));
  }
  bool walked = false;
  size_t located = 0;
  for (size_t i = 0; i < meta::kShards; ++i) {
    if (i == located) {
      ASSIGN_OR_RETURN(located, Locate(cut->changes(), i));
    }
    const meta::ChangeSet& shard = cut->changes().shards[i];
    std::vector<ObjectId> ids;
    for (const auto& [id, change] : shard) ids.push_back(id);
    RETURN_IF_ERROR(objects_.Expect(ids));
    for (const auto& [id, change] : shard) {
      ObjectShipper::Likeness like;
      if (const auto name = names.find(id); name != names.end()) {
        like.replaced = name->second.replaced;
        like.find_by_name = [this, &named = name->second] {
          std::vector<std::string> similar = NamesOfOriginals(*named.name);
          std::ranges::move(NamesOfBackups(*named.name), std::back_inserter(similar));
          return FindByName(named.directory, similar);
        };
      }
      progress_.BeginObject(change);
      ASSIGN_OR_RETURN(const bool exists, ShipObject(*cut, id, change, like));
      progress_.EndObject();
      // A directory that is gone takes its names with it: the entry that led to it says so. One
      // that cannot be read is listed when it can.
      if (!exists) {
        ASSIGN_OR_RETURN(const bool named, ShipLostName(id));
        walked |= named;
        continue;
      }
      for (const auto& [name, entry] : change.entries) {
        RETURN_IF_ERROR(stage_.Add(EntryRecord{id, name, entry.child}));
      }
      if (change.listing) {
        RETURN_IF_ERROR(walker_.WalkDirectory({id, change.handle}, WalkDepth::kNewOnly));
        walked = true;
      }
      ASSIGN_OR_RETURN(const bool passed_by, WalkPassedBy(*cut, change));
      walked |= passed_by;
    }
  }
  ASSIGN_OR_RETURN(const bool named, NameUnknown(cut->changes()));
  return walked || named;
}

// Files whose content may be all that of another: of what they replaced, of the one that their name
// says they were made from, or their own before they were truncated.
KnownContent::SmallFiles CutShipper::SmallFilesOf(const meta::Layer& changes,
                                                  const NewNames& names) const {
  KnownContent::SmallFiles files;
  for (const auto& [id, name] : names) {
    const meta::ObjectChange* const change = changes.Find(id);
    if (change == nullptr || !change->whole || change->extent > kMostOfSmallFile) continue;
    const ObjectId like = name.replaced.is_null()
                              ? FindByName(name.directory, NamesOfOriginals(*name.name))
                              : name.replaced;
    if (!like.is_null()) files.emplace_back(id, like);
  }
  for (const meta::ChangeSet& shard : changes.shards) {
    for (const auto& [id, change] : shard) {
      if (change.rewritten && !change.whole && change.extent <= kMostOfSmallFile)
        files.emplace_back(id, id);
    }
  }
  return files;
}

// A record of an object that the replica does not know, and that no name leads to, has no effect
// there. An object that got its id without an operation is such a one.
Result<bool> CutShipper::NameUnknown(const meta::Layer& changes) {
  if (!tree_.ids_may_change()) return false;
  std::vector<ObjectId> changed;
  for (const meta::ChangeSet& shard : changes.shards) {
    for (const auto& [id, change] : shard) {
      if (!change.whole && id != kRootObject) changed.push_back(id);
    }
  }
  ASSIGN_OR_RETURN(const std::vector<ObjectId> unknown, walker_.FindUnknown(changed));
  for (const ObjectId& object : unknown) RETURN_IF_ERROR(ShipNameOf(object));
  return !unknown.empty();
}

// Objects whose place is not known are searched for together, as many as can be remembered.
Result<size_t> CutShipper::Locate(const meta::Layer& changes, size_t shard) {
  constexpr size_t kTogether = meta::Whereabouts::kMaxObjects / 4;
  if (tree_.by_names() == nullptr) return meta::kShards;
  std::vector<ObjectId> objects;
  for (; shard < meta::kShards && objects.size() < kTogether; ++shard) {
    for (const auto& [id, change] : changes.shards[shard]) objects.push_back(id);
  }
  RETURN_IF_ERROR(tree_.by_names()->Locate(objects));
  return shard;
}

// For an object that is gone although no operation is known to have removed its name: that name
// leads to something else, or to nothing. It is read live, so a cut has to follow.
Result<bool> CutShipper::ShipLostName(const ObjectId& object) {
  if (tree_.by_names() == nullptr) return false;
  const auto name = tree_.by_names()->TakeLostName(object);
  if (!name) return false;
  return ShipName(*name);
}

// An object that gets another id without an operation is known only by a change of its own: no
// entry has named it to the replica. It is read live, so a cut has to follow.
Status CutShipper::ShipNameOf(const ObjectId& object) {
  if (tree_.by_names() == nullptr) return {};
  const auto name = tree_.by_names()->whereabouts().NameOf(object);
  if (!name) return {};
  ASSIGN_OR_RETURN(const bool named, ShipName(*name));
  (void)named;
  return {};
}

Result<bool> CutShipper::ShipName(const EntryKey& name) {
  auto parent = tree_.Open({name.parent, {}});
  if (!parent && meta::IsUnreadable(parent.error())) return false;
  ASSIGN_OR_RETURN(const std::optional<meta::SourceObject> directory, std::move(parent));
  if (!directory) return false;
  auto child = tree_.Lookup(directory->path_fd(), name.name.c_str());
  if (!child && meta::IsUnreadable(child.error())) return false;
  ASSIGN_OR_RETURN(const std::optional<meta::ObjectRef> now, std::move(child));
  if (now) tree_.by_names()->whereabouts().Note(now->id, name.parent, name.name);
  RETURN_IF_ERROR(stage_.Add(EntryRecord{name.parent, name.name, now ? now->id : ObjectId()}));
  return true;
}

// Ships objects that have come to these names and that a walk of everything has missed. Those that
// are whole in the cut are shipped with it.
Result<bool> CutShipper::WalkPassedBy(meta::FrozenCut& cut, const meta::ObjectChange& directory) {
  bool walked = false;
  for (const auto& [name, entry] : directory.entries) {
    if (entry.child.is_null() || !walker_.HasPassedBy(entry.child)) continue;
    const meta::ObjectChange* change = cut.changes().Find(entry.child);
    if (change != nullptr && change->whole) continue;
    ASSIGN_OR_RETURN(const auto found, FindMissing(entry.child));
    if (!found) continue;  // gone by now
    RETURN_IF_ERROR(walker_.WalkPassedBy(*found));
    walked = true;
  }
  return walked;
}

Result<bool> CutShipper::ShipObject(meta::FrozenCut& cut, const ObjectId& id,
                                    const meta::ObjectChange& change,
                                    const ObjectShipper::Likeness& like) {
  auto opened = cut.Open({id, change.handle});
  if (!opened && meta::IsUnreadable(opened.error())) {
    objects_.NoteUnreadable({id, change.handle}, change, opened.error().ToString());
    return false;
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<meta::ObjectReader> object, std::move(opened));
  if (object == nullptr) return false;
  ASSIGN_OR_RETURN(const auto attributes, objects_.Ship(id, *object, change, like));
  return attributes.has_value();
}

// Only saves bytes: whatever fails or takes long, nothing is found.
ObjectId CutShipper::FindByName(const meta::ObjectRef& directory,
                                const std::vector<std::string>& similar) const {
  if (similar.empty()) return {};
  const auto parent = tree_.Open(directory, meta::Effort::kAtOnce);
  if (!parent || !*parent) return {};
  for (const std::string& beside : similar) {
    const auto found = tree_.Lookup((*parent)->path_fd(), beside.c_str());
    if (found && *found) return (*found)->id;
  }
  return {};
}

Status CutShipper::ShipMissing(const std::vector<ObjectId>& objects, IfGone if_gone) {
  if (tree_.by_names() != nullptr) RETURN_IF_ERROR(tree_.by_names()->Locate(objects));
  for (const ObjectId& id : objects) {
    auto object = FindMissing(id);
    if (!object && !meta::IsUnreadable(object.error())) {
      return tl::unexpected<Error>(std::move(object.error()));
    }
    bool shipped = false;
    if (object && *object) {
      ASSIGN_OR_RETURN(shipped, walker_.WalkNew(**object));
      if (shipped) {
        RETURN_IF_ERROR(ShipNameOf(id));
      }
    } else if (object) {
      shipped = true;  // gone by now: the next cut says so
    }
    if (!shipped || if_gone == IfGone::kTakeNamesBack) RETURN_IF_ERROR(TakeNamesBack(id));
  }
  return {};
}

// What cannot be read cannot be named either. The directories are listed again when it may be.
Status CutShipper::TakeNamesBack(const ObjectId& object) {
  meta::ObjectChange listing;
  listing.listing = true;
  std::set<EntryKey> later;  // what cuts shipped afterwards say
  for (auto cut = shipped_.rbegin(); cut != shipped_.rend(); ++cut) {
    for (const meta::ChangeSet& shard : (*cut)->changes().shards) {
      for (const auto& [directory, change] : shard) {
        for (const auto& [name, entry] : change.entries) {
          if (!later.insert({directory, name}).second || entry.child != object) continue;
          RETURN_IF_ERROR(stage_.Add(EntryRecord{directory, name, ObjectId()}));
          objects_.NoteUnreadable({directory, change.handle}, listing, name);
        }
      }
    }
  }
  return {};
}

Result<std::optional<meta::ObjectRef>> CutShipper::FindMissing(const ObjectId& object) {
  if (auto differing = walker_.FindDiffering(object)) return differing;
  for (const auto& cut : shipped_) {
    if (const meta::ObjectChange* change = cut->changes().Find(object)) {
      return meta::ObjectRef{object, change->handle};
    }
    for (const meta::ChangeSet& shard : cut->changes().shards) {
      for (const auto& [directory, change] : shard) {
        for (const auto& [name, entry] : change.entries) {
          if (entry.child != object) continue;
          ASSIGN_OR_RETURN(std::optional<meta::ObjectRef> found,
                           tree_.LookupIn({directory, change.handle}, name));
          if (found && found->id == object) return found;
        }
      }
    }
  }
  if (tree_.by_names() == nullptr) return std::nullopt;
  // One that ShipName has named.
  const auto name = tree_.by_names()->whereabouts().NameOf(object);
  if (!name) return std::nullopt;
  ASSIGN_OR_RETURN(auto found, tree_.LookupIn({name->parent, {}}, name->name));
  if (!found || found->id != object) return std::nullopt;
  return found;
}

namespace {

uint64_t LengthOf(const ByteRange& range, const meta::ObjectChange& change) {
  if (range.end != ByteRange::kEndOfFile) return range.length();
  if (change.extent == 0) return kEstimatedUnknownSize;
  return ByteRange{range.start, change.extent}.length();
}

template <typename Length>
Result<uint64_t> SumOver(meta::FrozenCut& cut, const Length& length) {
  uint64_t bytes = 0;
  for (const meta::ChangeSet& shard : cut.changes().shards) {
    for (const auto& [id, change] : shard) {
      bytes += kEstimatedPerObject + change.entries.size() * kEstimatedPerObject / 4;
      for (const ByteRange& range : change.data.ToVector()) {
        ASSIGN_OR_RETURN(const uint64_t part, length(id, change, range));
        bytes += part;
      }
    }
  }
  return bytes;
}

Result<uint64_t> DataWithin(meta::SourceObject& file, ByteRange range) {
  uint64_t bytes = 0;
  while (!range.empty()) {
    ASSIGN_OR_RETURN(const meta::Layout layout, file.ReadLayout(range, kExtentsAtATime));
    for (const ByteRange& part : layout.data) bytes += part.length();
    range.start = layout.end;
  }
  return bytes;
}

}  // namespace

uint64_t EstimateBytes(meta::FrozenCut& cut) {
  return SumOver(cut,
                 [](const ObjectId&, const meta::ObjectChange& change,
                    const ByteRange& range) -> Result<uint64_t> { return LengthOf(range, change); })
      .value_or(0);
}

Result<uint64_t> MeasureBytes(meta::FrozenCut& cut, const meta::SourceTree& tree,
                              uint64_t largest_file) {
  return SumOver(cut,
                 [&](const ObjectId& id, const meta::ObjectChange& change,
                     const ByteRange& range) -> Result<uint64_t> {
                   const bool open_ended = range.end == ByteRange::kEndOfFile;
                   if (!open_ended && range.length() < kMeasureFrom) return range.length();
                   auto file = tree.Open({id, change.handle});
                   if (!file || !*file) return 0;
                   const auto now = (*file)->ReadAttributes(meta::WithXattrs::kNo);
                   if (!now || now->kind != meta::Kind::kFile) return 0;
                   if (now->size > largest_file) return 0;
                   const ByteRange there{range.start, std::min(range.end, now->size)};
                   if (there.length() < kMeasureFrom) return there.length();
                   auto data = DataWithin(**file, there);
                   return data ? *data : there.length();
                 });
}

}  // namespace tandem::replica
