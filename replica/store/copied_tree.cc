#include "replica/store/copied_tree.h"

#include <fcntl.h>

#include <deque>
#include <unordered_map>

#include "meta/base/log.h"
#include "replica/apply/marker.h"
#include "replica/apply/tree.h"
#include "replica/store/tuning.h"

namespace tandem::replica {
namespace {

// Finds the catalog's objects again, by name. Those that are not there leave the catalog.
class CopiedTree {
 public:
  CopiedTree(int root_fd, int hold_fd, Catalog& catalog)
      : tree_(root_fd, hold_fd, catalog), catalog_(catalog) {}

  Status FindObjects(InodeId root) {
    found_.emplace(kRootObject, root);
    RETURN_IF_ERROR(Found(kRootObject, root));
    directories_.push_back(kRootObject);
    while (!directories_.empty()) {
      const ObjectId directory = directories_.front();
      directories_.pop_front();
      ASSIGN_OR_RETURN(const Tree::Directory opened, tree_.OpenDirectory(directory));
      if (opened != nullptr) RETURN_IF_ERROR(FindObjectsIn(directory, opened->get()));
    }
    // Those that were not found by another name either.
    return catalog_.Forget(std::move(lost_),
                           [this](ObjectId object) { return found_.contains(object); });
  }
  size_t lacking() const { return lacking_; }

 private:
  Status FindObjectsIn(ObjectId directory, int directory_fd) {
    std::string after;
    while (true) {
      ASSIGN_OR_RETURN(const auto entries, catalog_.EntriesOf(directory, after, kEntriesAtATime));
      if (entries.empty()) return {};
      after = entries.back().name;
      for (const CatalogEntry& entry : entries) {
        RETURN_IF_ERROR(FindObject({directory, entry.name}, entry.child, directory_fd));
      }
    }
  }

  Status FindObject(const EntryKey& key, ObjectId object, int directory_fd) {
    ASSIGN_OR_RETURN(const auto kind, catalog_.FindKind(object));
    const bool is_directory = kind == meta::Kind::kDirectory;
    auto fd = OpenBeneath(directory_fd, key.name, O_PATH | (is_directory ? O_DIRECTORY : 0));
    if (!fd && !MeansAbsent(fd.error())) return tl::unexpected<Error>(std::move(fd.error()));
    bool as_it_was = false;
    if (fd && kind) {
      ASSIGN_OR_RETURN(as_it_was, IsAsItWas(object, *kind, fd->get()));
    }
    if (!as_it_was) {
      ++lacking_;
      lost_.push_back(object);
      return catalog_.RemoveEntry(key);
    }
    RETURN_IF_ERROR(Found(object, found_.at(object)));
    if (is_directory) directories_.push_back(object);
    return {};
  }

  // Returns false for a hard link that was copied as a file of its own, for files that have become
  // one, and for a file that was cut short.
  Result<bool> IsAsItWas(ObjectId object, meta::Kind kind, int fd) {
    ASSIGN_OR_RETURN(const auto inode, InodeAt(fd, ""));
    if (kind == meta::Kind::kFile) {
      ASSIGN_OR_RETURN(const auto row, catalog_.Find(object));
      ASSIGN_OR_RETURN(const auto now, meta::ReadAttributes(fd, meta::WithXattrs::kNo));
      if (now.kind != kind || now.size != row->attributes.size) return false;
    }
    if (!inode || objects_.try_emplace(inode->digest, object).first->second != object) return false;
    return found_.try_emplace(object, *inode).first->second == inode;
  }

  Status Found(ObjectId object, InodeId inode) {
    ASSIGN_OR_RETURN(auto row, catalog_.Find(object));
    if (!row) return {};
    row->inode = inode;
    return catalog_.Put(object, *row, row->changed);
  }

  Tree tree_;
  Catalog& catalog_;
  std::deque<ObjectId> directories_;
  std::unordered_map<ObjectId, InodeId> found_;
  std::unordered_map<ObjectId, ObjectId> objects_;  // by inode, InodeId's digest
  std::deque<ObjectId> lost_;
  size_t lacking_ = 0;
};

}  // namespace

Result<bool> AdoptCopiedTree(const VolumePlace& place, Catalog& catalog, VolumeReport& report,
                             AppliedCut& applied) {
  ASSIGN_OR_RETURN(const auto row, catalog.Find(kRootObject));
  ASSIGN_OR_RETURN(const auto root, InodeAt(place.root_fd(), ""));
  if (!row || row->inode == root) return true;
  const auto marker = ReadMarker(place.fd());
  const bool whole =
      marker && marker->state == TreeState::kApplied && marker->cut.name == applied.name;
  const std::string notice =
      "tree/ is a copy of the one that replica.db speaks of (a backup put back?)";
  report.SetHistory(notice);
  LogWarning("volume {}: {}: its files are looked up by name", place.name(), notice);
  ASSIGN_OR_RETURN(Savepoint part, catalog.Begin());
  CopiedTree tree(place.root_fd(), place.hold_fd(), catalog);
  RETURN_IF_ERROR(tree.FindObjects(root.value_or(InodeId())));
  const bool usable = tree.lacking() == 0 && whole;
  if (!usable) {
    // Copied in mid-redo, or in part.
    LogError(
        "volume {}: it is of no one moment ({} names are not as they were): the source has to "
        "compare everything",
        place.name(), tree.lacking());
    applied = AppliedCut::Nowhere();
    RETURN_IF_ERROR(catalog.SetApplied(applied));
  }
  RETURN_IF_ERROR(part.Release());
  // A copy just made may be in memory alone.
  RETURN_IF_ERROR(place.Sync());
  RETURN_IF_ERROR(catalog.Keep());
  return usable;
}

}  // namespace tandem::replica
