// The objects the kernel knows: its node id is the address of our Inode (1 for the root). One
// object has one Inode whatever its names. An Inode lives while the kernel counts lookups of it;
// the kernel sends no forget for a node that a running request names, so that handlers use the
// Inodes of their request without holding anything.
//
// Any thread.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <memory>
#include <unordered_map>

#include "fs/descriptor_cache.h"
#include "fs/fd_path.h"
#include "fs/fuse_api.h"
#include "meta/base/mutex.h"
#include "meta/base/unique_fd.h"
#include "meta/change_set.h"

namespace tandem::fs {

// An O_PATH descriptor of an Inode, good for as long as this value lives.
class InodeFd {
 public:
  int get() const { return fd_->get(); }
  FdPath path() const { return FdPath(get()); }

 private:
  friend class Inode;
  explicit InodeFd(CachedDescriptor::Shared fd) : fd_(std::move(fd)) {}
  CachedDescriptor::Shared fd_;
};

// An object as it was found: by name, or through a descriptor.
struct FoundObject {
  UniqueFd fd;  // O_PATH
  meta::ObjectRef ref;
  int mount_id = 0;
  struct stat attributes;

  // ENOENT and the like when the name leads nowhere. Symlinks are not followed.
  static Result<FoundObject> ByName(int directory_fd, const char* name);
  static Result<FoundObject> ByDescriptor(int fd);

 private:
  static Result<FoundObject> Describe(UniqueFd fd);
};

class Inode {
 public:
  // `mount` is 0 on the volume's own mount, otherwise the id of a mount below it.
  Inode(meta::ObjectRef ref, int mount, uint64_t generation, DescriptorCache& cache, UniqueFd fd)
      : ref_(std::move(ref)),
        mount_(mount),
        generation_(generation),
        // Handles of other mounts cannot be opened through the volume's.
        handle_(mount == 0 ? ref_.handle : FileHandle()),
        fd_(cache, handle_, std::move(fd)) {}

  const meta::ObjectRef& ref() const { return ref_; }
  // Whether the object belongs to the volume: what is mounted below SOURCE passes through.
  bool in_volume() const { return mount_ == 0; }
  // Tells this Inode from an earlier one at the same address.
  uint64_t generation() const { return generation_; }
  Result<InodeFd> Descriptor() const {
    ASSIGN_OR_RETURN(CachedDescriptor::Shared fd, fd_.Get());
    return InodeFd(std::move(fd));
  }

  // The inode number shown for number `backing` of this object's filesystem: the same in the
  // volume. All we show has one st_dev, so numbers from other mounts are moved out of the way.
  ino_t PublicNumber(ino_t backing) const {
    constexpr int kMountShift = 40;
    return backing ^ (static_cast<ino_t>(mount_) << kMountShift);
  }

 private:
  friend class InodeTable;
  const meta::ObjectRef ref_;
  const int mount_;
  const uint64_t generation_;
  const FileHandle handle_;
  mutable CachedDescriptor fd_;
};

class InodeTable {
  // Handles, and so ids, are unique within one filesystem only.
  struct Key {
    ObjectId id;
    int mount = 0;
    friend bool operator==(const Key&, const Key&) = default;
  };

 public:
  // An object that is about to lose a name: while this lives, the descriptor of its Inode stays
  // open; afterwards too if that was its last name, because then it cannot be opened again.
  class KeptOpen {
   public:
    KeptOpen() = default;
    KeptOpen(KeptOpen&& other) noexcept { *this = std::move(other); }
    KeptOpen& operator=(KeptOpen&& other) noexcept;
    ~KeptOpen();

    // O_PATH. Only if this was not default-constructed.
    int fd() const { return fd_->get(); }

   private:
    friend class InodeTable;
    CachedDescriptor::Shared fd_;
    InodeTable* table_ = nullptr;  // null: the kernel does not know the object
    Key key_;
    uint64_t generation_ = 0;
  };

  // `directory_fd` is the volume's root.
  static Result<std::unique_ptr<InodeTable>> Create(int directory_fd);

  const Inode& root() const { return *root_; }
  // `node` came from the kernel.
  Inode& Get(fuse_ino_t node) {
    return node == FUSE_ROOT_ID ? *root_ : *reinterpret_cast<Inode*>(node);
  }
  fuse_ino_t NodeOf(const Inode& inode) const {
    return &inode == root_.get() ? FUSE_ROOT_ID : reinterpret_cast<fuse_ino_t>(&inode);
  }

  // The Inode of what was found, counting one lookup that the kernel is about to be told of. If it
  // is not told after all: Forget(inode, 1).
  Inode& Remember(FoundObject found) EXCLUDES(mutex_);
  void Forget(Inode& inode, uint64_t lookups) EXCLUDES(mutex_);
  // The object of `fd` (O_PATH) is about to lose a name.
  KeptOpen KeepOpen(const ObjectId& object, int mount_id, UniqueFd fd) EXCLUDES(mutex_);
  // An object that Remember found without a name has been given one.
  void HasName(Inode& inode) { inode.fd_.Unpin(); }

 private:
  struct KeyHash {
    size_t operator()(const Key& key) const noexcept {
      return std::hash<ObjectId>()(key.id) + static_cast<size_t>(key.mount);
    }
  };
  struct Entry {
    std::unique_ptr<Inode> inode;
    uint64_t lookups = 0;
  };

  explicit InodeTable(FoundObject root);
  void LetClose(const Key& key, uint64_t generation) EXCLUDES(mutex_);

  // Before the inodes: they use it.
  const UniqueFd mount_fd_;
  DescriptorCache descriptors_;
  const std::unique_ptr<Inode> root_;
  const int root_mount_id_;
  Mutex mutex_;
  std::unordered_map<Key, Entry, KeyHash> entries_ GUARDED_BY(mutex_);
  uint64_t last_generation_ GUARDED_BY(mutex_) = 0;
};

}  // namespace tandem::fs
