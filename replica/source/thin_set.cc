#include "replica/source/thin_set.h"

#include <algorithm>

#include "meta/source/source_tree.h"

namespace tandem::replica {
namespace {

// Shrinking a file makes everything behind its end a change.
bool MayBeShorter(const meta::ObjectChange& change) {
  if (change.whole || change.data.empty()) return false;
  return change.data.ToVector().back().end == ByteRange::kEndOfFile;
}

Result<std::optional<meta::Attributes>> ReadAttributes(meta::FrozenCut& cut, const ObjectId& id,
                                                       const meta::ObjectChange& change,
                                                       meta::WithXattrs with_xattrs) {
  auto opened = cut.Open({id, change.handle});
  if (!opened && meta::IsUnreadable(opened.error())) return std::nullopt;
  ASSIGN_OR_RETURN(const std::unique_ptr<meta::ObjectReader> object, std::move(opened));
  if (object == nullptr) return std::nullopt;
  auto attributes = object->ReadAttributes(with_xattrs);
  if (!attributes && meta::IsUnreadable(attributes.error())) return std::nullopt;
  ASSIGN_OR_RETURN(meta::Attributes read, std::move(attributes));
  return read;
}

}  // namespace

bool ThinSet::MayMakeRoom(const meta::Layer& changes) {
  for (const meta::ChangeSet& shard : changes.shards) {
    for (const auto& [id, change] : shard) {
      if (MayBeShorter(change)) return true;
      const auto frees = [](const auto& entry) {
        return entry.second.child.is_null() || !entry.second.replaced.is_null();
      };
      if (std::ranges::any_of(change.entries, frees)) return true;
    }
  }
  return false;
}

Status ThinSet::Ship() {
  RETURN_IF_ERROR(ShipDirectories());
  for (const meta::ChangeSet& shard : cut_.changes().shards) {
    for (const auto& [id, change] : shard) {
      if (MayBeShorter(change)) RETURN_IF_ERROR(ShipSize(id, change));
      if (!change.whole || new_directories_.contains(id)) {
        RETURN_IF_ERROR(ShipNames(id, change));
      }
    }
  }
  return {};
}

// Ships new directories: objects that the replica knows may have been moved there, and would be
// lost with their old names.
Status ThinSet::ShipDirectories() {
  for (const meta::ChangeSet& shard : cut_.changes().shards) {
    for (const auto& [id, change] : shard) {
      if (!change.whole) continue;
      ASSIGN_OR_RETURN(auto attributes, ReadAttributes(cut_, id, change, meta::WithXattrs::kYes));
      if (!attributes || attributes->kind != meta::Kind::kDirectory) continue;
      new_directories_.insert(id);
      RETURN_IF_ERROR(stage_.Add(ObjectRecord{id, true, true, std::move(*attributes)}));
    }
  }
  return {};
}

Status ThinSet::ShipSize(const ObjectId& file, const meta::ObjectChange& change) {
  ASSIGN_OR_RETURN(auto attributes, ReadAttributes(cut_, file, change, meta::WithXattrs::kNo));
  if (!attributes || attributes->kind != meta::Kind::kFile) return {};
  return stage_.Add(ObjectRecord{file, false, false, std::move(*attributes)});
}

bool ThinSet::IsNew(const ObjectId& object) {
  const meta::ObjectChange* change = cut_.changes().Find(object);
  return change != nullptr && change->whole && !new_directories_.contains(object);
}

Status ThinSet::ShipNames(const ObjectId& directory, const meta::ObjectChange& change) {
  for (const auto& [name, entry] : change.entries) {
    if (!entry.child.is_null() && IsNew(entry.child)) continue;
    if (!entry.child.is_null()) names_[entry.child].push_back({directory, name});
    RETURN_IF_ERROR(stage_.Add(EntryRecord{directory, name, entry.child}));
  }
  return {};
}

Result<bool> ThinSet::TakeNamesBack(const std::vector<ObjectId>& objects) {
  bool any = false;
  for (const ObjectId& object : objects) {
    const auto found = names_.find(object);
    if (found == names_.end()) continue;
    for (const EntryKey& key : found->second) {
      RETURN_IF_ERROR(stage_.Add(EntryRecord{key.parent, key.name, ObjectId()}));
    }
    names_.erase(found);
    any = true;
  }
  return any;
}

}  // namespace tandem::replica
