#include "replica/store/import_catalog.h"

#include <fcntl.h>
#include <xxhash.h>

#include <deque>
#include <unordered_map>

#include "meta/base/printable.h"
#include "replica/apply/catalog.h"
#include "replica/apply/removal.h"
#include "replica/apply/tree.h"
#include "replica/apply/tree_path.h"
#include "replica/store/volume_place.h"
#include "replica/wire/imported.h"

namespace tandem::replica {
namespace {

// Not the digest itself: source and store may be filesystems whose handles are alike, and the ids
// of the source come from handles too.
ObjectId PlaceholderFor(InodeId inode) {
  constexpr XXH64_hash_t kSeed = 0x696d706f72746564;
  const uint64_t parts[2] = {inode.digest.high(), inode.digest.low()};
  const XXH128_hash_t hash = XXH3_128bits_withSeed(parts, sizeof parts, kSeed);
  return ObjectId(hash.high64 == 0 ? 1 : hash.high64, hash.low64);
}

class Describer {
 public:
  Describer(int root_fd, int hold_fd, Catalog& catalog, const ImportOptions& options)
      : root_fd_(root_fd), tree_(root_fd, hold_fd, catalog), catalog_(catalog), options_(options) {}

  Status Run() {
    ASSIGN_OR_RETURN(const auto root, InodeAt(root_fd_, ""));
    if (!root) return ErrnoError(ENOENT, "identify the directory");
    RETURN_IF_ERROR(Put(kRootObject, *root, root_fd_));
    directories_.push_back(kRootObject);
    while (!directories_.empty()) {
      const ObjectId directory = directories_.front();
      directories_.pop_front();
      RETURN_IF_ERROR(DescribeNamesIn(directory));
    }
    return CheckLinks();
  }
  uint64_t objects() const { return objects_; }

 private:
  Status DescribeNamesIn(ObjectId directory) {
    ASSIGN_OR_RETURN(const Tree::Directory fd, tree_.OpenDirectory(directory));
    if (fd == nullptr) return Changed(directory);
    ASSIGN_OR_RETURN(const auto names, NamesIn(fd->get()));
    for (const std::string& name : names) {
      RETURN_IF_ERROR(Describe({directory, name}, fd->get()));
    }
    return {};
  }

  Status Describe(const EntryKey& key, int directory_fd) {
    auto fd = OpenBeneath(directory_fd, key.name, O_PATH);
    if (!fd && fd.error().code() == EXDEV) return Refuse(key, "something is mounted there", EXDEV);
    if (!fd) {
      ASSIGN_OR_RETURN(const std::string path, PathOfName(key));
      return tl::unexpected<Error>(std::move(fd.error()).Within("import " + Printable(path)));
    }
    ASSIGN_OR_RETURN(const auto inode, InodeAt(fd->get(), ""));
    if (!inode) return Changed(key.parent);
    const ObjectId object = PlaceholderFor(*inode);
    ASSIGN_OR_RETURN(const auto known, catalog_.FindKind(object));
    if (!known) {
      ASSIGN_OR_RETURN(const meta::Attributes attributes, Put(object, *inode, fd->get()));
      if (attributes.kind == meta::Kind::kDirectory) {
        directories_.push_back(object);
      } else if (attributes.link_count > 1) {
        links_.emplace(object, attributes.link_count);
      }
    }
    if (const auto left = links_.find(object); left != links_.end() && --left->second == 0) {
      links_.erase(left);
    }
    return catalog_.SetEntry(key, object, kImportedAsItIs);
  }

  Result<meta::Attributes> Put(ObjectId object, InodeId inode, int fd) {
    ASSIGN_OR_RETURN(meta::Attributes attributes, ReadWithRights(fd, meta::WithXattrs::kNo));
    // The source's is not known.
    attributes.change_time = {};
    const Epoch changed = options_.compare_content ? kImportedToCompare : kImportedAsItIs;
    RETURN_IF_ERROR(catalog_.Put(object, {inode, attributes}, changed));
    if (attributes.kind == meta::Kind::kFile && attributes.size > 0) {
      RETURN_IF_ERROR(catalog_.digests().MakeUnknown(object));
    }
    options_.progress(++objects_);
    return attributes;
  }

  // What stands outside would change with what is in the tree.
  Status CheckLinks() {
    if (links_.empty()) return {};
    ASSIGN_OR_RETURN(const std::string path, PathOf(catalog_, links_.begin()->first));
    return MakeError(ErrorKind::kUsage,
                     "import " + Printable(path) + " (" + std::to_string(links_.size()) +
                         " files like this have hard links outside the directory, which would "
                         "change with the replica: copy the directory with cp -a and import the "
                         "copy)",
                     EMLINK);
  }

  Result<std::string> PathOfName(const EntryKey& key) {
    ASSIGN_OR_RETURN(const std::string parent, PathOf(catalog_, key.parent));
    return PathIn(parent, key.name);
  }

  Status Refuse(const EntryKey& key, const char* why, int code) {
    ASSIGN_OR_RETURN(const std::string path, PathOfName(key));
    return MakeError(ErrorKind::kUsage,
                     "import " + Printable(path) + " (" + why + ": unmount it first)", code);
  }

  Status Changed(ObjectId directory) {
    ASSIGN_OR_RETURN(const std::string path, PathOf(catalog_, directory));
    return MakeError(
        ErrorKind::kUsage,
        "import " + Printable(path) + " (it changes meanwhile: stop the program that changes it)",
        EBUSY);
  }

  const int root_fd_;
  Tree tree_;
  Catalog& catalog_;
  const ImportOptions& options_;
  std::deque<ObjectId> directories_;
  // Names that were not met yet, of files that have several.
  std::unordered_map<ObjectId, uint32_t> links_;
  uint64_t objects_ = 0;
};

}  // namespace

Result<uint64_t> DescribeCopy(int root_fd, int hold_fd, const std::string& volume_path,
                              const ImportOptions& options) {
  ASSIGN_OR_RETURN(const auto catalog,
                   Catalog::Open(volume_path + "/" + VolumePlace::kCatalogName));
  ASSIGN_OR_RETURN(Savepoint part, catalog->Begin());
  Describer describer(root_fd, hold_fd, *catalog, options);
  RETURN_IF_ERROR(describer.Run());
  RETURN_IF_ERROR(catalog->SetApplied(AppliedCut::Nowhere()));
  RETURN_IF_ERROR(part.Release());
  RETURN_IF_ERROR(catalog->Keep());
  return describer.objects();
}

}  // namespace tandem::replica
