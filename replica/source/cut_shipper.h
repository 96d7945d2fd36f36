// Ships what a frozen cut holds into a stage. One thread.
#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "meta/capture/frozen_cut.h"
#include "replica/source/object_shipper.h"
#include "replica/source/walker.h"

namespace tandem::replica {

class CutShipper {
 public:
  // All references must outlive the shipper.
  CutShipper(const meta::SourceTree& tree, StageWriter& stage, ObjectShipper& objects,
             Walker& walker, CutProgress& progress)
      : tree_(tree), stage_(stage), objects_(objects), walker_(walker), progress_(progress) {}

  // Ships the cut's changes. Returns true if directories had to be walked live: then what is staged
  // is of no one moment, and a newer cut has to follow before the stage is committed.
  Result<bool> Ship(const std::shared_ptr<meta::FrozenCut>& cut);

  enum class IfGone {
    kNextCutSaysSo,
    // Newer cuts have been shipped and still name the object: it exists, and cannot be read.
    kTakeNamesBack,
  };
  // Ships these objects, which the replica lacks, whole and with everything below. Entries of cuts
  // that were shipped before name them.
  Status ShipMissing(const std::vector<ObjectId>& objects, IfGone if_gone);

 private:
  // How an object came to its name in a cut. Content of a file that replaced another may be found
  // in the one it replaced.
  struct NewName {
    meta::ObjectRef directory;
    const std::string* name;  // of the cut
    ObjectId replaced;        // null: none
  };
  using NewNames = std::unordered_map<ObjectId, NewName>;
  static NewNames NewNamesOf(const meta::Layer& changes);
  KnownContent::SmallFiles SmallFilesOf(const meta::Layer& changes, const NewNames& names) const;
  // Returns false if there is no such object in the cut, or it cannot be read.
  Result<bool> ShipObject(meta::FrozenCut& cut, const ObjectId& id,
                          const meta::ObjectChange& change, const ObjectShipper::Likeness& like);
  ObjectId FindByName(const meta::ObjectRef& directory,
                      const std::vector<std::string>& similar) const;
  // Begins at this shard. Returns the first shard for which it has to be called again.
  Result<size_t> Locate(const meta::Layer& changes, size_t shard);
  // Returns true if another cut has to follow.
  Result<bool> ShipLostName(const ObjectId& object);
  Status ShipNameOf(const ObjectId& object);
  Result<bool> ShipName(const EntryKey& name);
  Result<bool> NameUnknown(const meta::Layer& changes);
  Result<bool> WalkPassedBy(meta::FrozenCut& cut, const meta::ObjectChange& directory);
  Result<std::optional<meta::ObjectRef>> FindMissing(const ObjectId& object);
  Status TakeNamesBack(const ObjectId& object);

  const meta::SourceTree& tree_;
  StageWriter& stage_;
  ObjectShipper& objects_;
  Walker& walker_;
  CutProgress& progress_;
  std::vector<std::shared_ptr<meta::FrozenCut>> shipped_;
};

// Estimates how many bytes shipping the cut takes, without reading anything.
uint64_t EstimateBytes(meta::FrozenCut& cut);
// The same, read from the source: holes do not count, nor do files that are larger than a file can
// be on the replica.
Result<uint64_t> MeasureBytes(meta::FrozenCut& cut, const meta::SourceTree& tree,
                              uint64_t largest_file);

}  // namespace tandem::replica
