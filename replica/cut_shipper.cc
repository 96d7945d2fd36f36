#include "replica/cut_shipper.h"

namespace tandem::replica {
namespace {

// Content of a file that replaced another may be found in the one it replaced.
std::unordered_map<ObjectId, ObjectId> BasesOf(const meta::Layer& changes) {
  std::unordered_map<ObjectId, ObjectId> bases;
  for (const meta::ChangeSet& shard : changes.shards) {
    for (const auto& [directory, change] : shard) {
      for (const auto& [name, entry] : change.entries) {
        if (entry.child.is_null() || entry.replaced.is_null()) continue;
        if (entry.child != entry.replaced) bases.emplace(entry.child, entry.replaced);
      }
    }
  }
  return bases;
}

}  // namespace

Result<bool> CutShipper::Ship(const std::shared_ptr<meta::FrozenCut>& cut) {
  shipped_.push_back(cut);
  const auto bases = BasesOf(cut->changes());
  bool walked = false;
  for (const meta::ChangeSet& shard : cut->changes().shards) {
    for (const auto& [id, change] : shard) {
      const auto basis = bases.find(id);
      ASSIGN_OR_RETURN(
          const bool exists,
          ShipObject(*cut, id, change, basis == bases.end() ? ObjectId() : basis->second));
      // A directory that is gone takes its names with it: the entry that led to it says so.
      if (!exists) continue;
      for (const auto& [name, entry] : change.entries) {
        RETURN_IF_ERROR(stage_.Add(EntryRecord{id, name, entry.child}));
      }
      if (change.listing) {
        RETURN_IF_ERROR(walker_.WalkDirectory({id, change.handle}, WalkDepth::kNewOnly));
        walked = true;
      }
    }
  }
  return walked;
}

Result<bool> CutShipper::ShipObject(meta::FrozenCut& cut, const ObjectId& id,
                                    const meta::ObjectChange& change, ObjectId basis) {
  ASSIGN_OR_RETURN(const std::unique_ptr<meta::ObjectReader> object, cut.Open({id, change.handle}));
  if (object == nullptr) return false;
  ASSIGN_OR_RETURN(const meta::Attributes attributes, objects_.Ship(id, *object, change, basis));
  (void)attributes;
  return true;
}

Status CutShipper::ShipMissing(const std::vector<ObjectId>& objects) {
  for (const ObjectId& id : objects) {
    ASSIGN_OR_RETURN(const std::optional<meta::ObjectRef> object, FindMissing(id));
    // Gone by now: the next cut says so.
    if (object) RETURN_IF_ERROR(walker_.WalkNew(*object));
  }
  return {};
}

Result<std::optional<meta::ObjectRef>> CutShipper::FindMissing(const ObjectId& object) {
  for (const auto& cut : shipped_) {
    if (const meta::ObjectChange* change = cut->changes().Find(object)) {
      return meta::ObjectRef{object, change->handle};
    }
    for (const meta::ChangeSet& shard : cut->changes().shards) {
      for (const auto& [directory, change] : shard) {
        for (const auto& [name, entry] : change.entries) {
          if (entry.child != object) continue;
          ASSIGN_OR_RETURN(const std::optional<meta::SourceObject> parent,
                           tree_.Open({directory, change.handle}));
          if (!parent) continue;
          ASSIGN_OR_RETURN(std::optional<meta::ObjectRef> found,
                           tree_.Lookup(parent->path_fd(), name.c_str()));
          if (found && found->id == object) return found;
        }
      }
    }
  }
  return std::nullopt;
}

uint64_t EstimateBytes(meta::FrozenCut& cut) {
  constexpr uint64_t kPerObject = 512;
  constexpr uint64_t kOfUnknownSize = 64 << 10;
  uint64_t bytes = 0;
  for (const meta::ChangeSet& shard : cut.changes().shards) {
    for (const auto& [id, change] : shard) {
      bytes += kPerObject + change.entries.size() * kPerObject / 4;
      for (const ByteRange& range : change.data.ToVector()) {
        bytes += range.end == ByteRange::kEndOfFile ? kOfUnknownSize : range.length();
      }
    }
  }
  return bytes;
}

}  // namespace tandem::replica
