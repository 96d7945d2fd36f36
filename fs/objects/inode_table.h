// The objects the kernel knows: its node id is the address of our Inode (1 for the root). One
// object has one Inode whatever its names. An Inode lives while the kernel counts lookups of it;
// the kernel sends no forget for a node that a running request names, so that handlers use the
// Inodes of their request without holding anything.
//
// There is one for each of a million files that somebody has listed, so they are small: where
// objects can be opened by handle, finding one opens nothing.
//
// Any thread.
#pragma once

#include <sys/stat.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

#include "fs/objects/descriptor_cache.h"
#include "fs/objects/known_names.h"
#include "fs/objects/plain_flag.h"
#include "fs/objects/reaper.h"
#include "fs/objects/tuning.h"
#include "fs/serving/fuse_api.h"
#include "meta/base/fd_path.h"
#include "meta/base/mutex.h"
#include "meta/base/unique_fd.h"
#include "meta/change_set.h"

namespace tandem::fs {

// An O_PATH descriptor of an Inode, good for as long as this value lives.
class InodeFd {
 public:
  explicit InodeFd(CachedDescriptor::Use use) : use_(std::move(use)) {}
  int get() const { return use_.get(); }
  FdPath path() const { return FdPath(get()); }

 private:
  CachedDescriptor::Use use_;
};

// An object as it was found: by name, or through a descriptor.
struct FoundObject {
  meta::ObjectRef ref;
  int mount_id = 0;
  struct stat attributes;
  UniqueFd fd;  // O_PATH; none where the object can be opened by its handle
};

class Inode {
 public:
  const meta::ObjectRef& ref() const { return ref_; }
  // Whether the object belongs to the volume: what is mounted below SOURCE passes through.
  bool in_volume() const { return mount_ == 0; }
  // Tells this Inode from an earlier one at the same address.
  uint64_t generation() const { return generation_; }

  // The inode number shown for number `backing` of this object's filesystem: the same in the
  // volume. All we show has one st_dev, so numbers from other mounts are moved out of the way.
  ino_t PublicNumber(ino_t backing) const {
    constexpr int kMountShift = 40;
    return backing ^ (static_cast<ino_t>(mount_) << kMountShift);
  }

  // Whether it is known that a write takes nothing from the object's mode and attributes.
  PlainFlag& plain() const { return plain_; }

  // Of a directory.
  KnownNames& known_names() const { return known_names_; }

  bool IsOpenForWriting() const { return writers_.load(std::memory_order_relaxed) != 0; }

 private:
  friend class InodeTable;
  friend class OpenToWrite;

  Inode(FoundObject found, int mount, uint64_t generation, DescriptorCache& cache)
      : ref_(std::move(found.ref)),
        fd_(mount == 0 && ref_.id != kRootObject && cache.CanReopen(ref_.handle),
            std::move(found.fd)),
        generation_(generation),
        mount_(mount) {}

  const meta::ObjectRef ref_;
  mutable CachedDescriptor fd_;
  Inode* next_ = nullptr;  // in the table's chain, guarded by its mutex, as are these two
  uint64_t lookups_ = 0;
  bool removed_ = false;
  const uint64_t generation_;
  const int mount_;  // 0 on the volume's own mount, otherwise the id of a mount below it
  mutable PlainFlag plain_;
  mutable std::atomic<uint32_t> writers_{0};
  mutable KnownNames known_names_;
};

// Has its Inode count as open for writing for as long as this lives. The kernel forgets no object
// that it has open.
class OpenToWrite {
 public:
  explicit OpenToWrite(const Inode& inode) : inode_(inode) { ++inode_.writers_; }
  OpenToWrite(OpenToWrite&&) = delete;
  ~OpenToWrite() { --inode_.writers_; }

  const Inode& inode() const { return inode_; }

 private:
  const Inode& inode_;
};

class InodeTable {
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
    int fd() const { return use_.get(); }

   private:
    friend class InodeTable;
    explicit KeptOpen(CachedDescriptor::Use use) : use_(std::move(use)) {}
    CachedDescriptor::Use use_;
    InodeTable* table_ = nullptr;  // null: the kernel does not know the object
    ObjectId object_;
    int mount_ = 0;
    uint64_t generation_ = 0;
    nlink_t links_ = 0;  // before; where that has to be known
  };

  // `directory_fd` is the volume's root.
  static Result<std::unique_ptr<InodeTable>> Create(int directory_fd);
  ~InodeTable();

  // Where handles cannot be opened, objects of the volume are opened so, and need no descriptor of
  // their own. Before anything is found.
  void ReopenBy(DescriptorCache::Reopen reopen);

  const Inode& root() const { return *root_; }
  // O_RDONLY, or none if the root may not be read. Borrowed.
  int root_fd() const { return mount_fd_.get(); }
  // `node` came from the kernel.
  Inode& Get(fuse_ino_t node) {
    return node == FUSE_ROOT_ID ? *root_ : *reinterpret_cast<Inode*>(node);
  }
  fuse_ino_t NodeOf(const Inode& inode) const {
    return &inode == root_.get() ? FUSE_ROOT_ID : reinterpret_cast<fuse_ino_t>(&inode);
  }

  // Of an object of the volume; 0 if the kernel does not know it.
  fuse_ino_t NodeOf(const ObjectId& object);

  Result<InodeFd> Descriptor(const Inode& inode) {
    ASSIGN_OR_RETURN(CachedDescriptor::Use use, inode.fd_.Get(descriptors_, inode.ref_));
    return InodeFd(std::move(use));
  }
  Result<InodeFd> Descriptor(fuse_ino_t node) { return Descriptor(Get(node)); }
  // A descriptor to read or write the object by; `flags` as for open(2), without O_CREAT.
  Result<UniqueFd> Open(const Inode& inode, int flags);

  // ENOENT and the like when the name leads nowhere. Symlinks are not followed. Name and
  // attributes are looked at one after the other: the kernel's lock on the directory keeps the name
  // from changing in between.
  Result<FoundObject> Find(int directory_fd, const char* name) const;
  // The object of a descriptor.
  Result<FoundObject> FindOpen(int fd) const;

  bool IsInVolume(const FoundObject& found) const { return MountOf(found.mount_id) == 0; }

  // The Inode of what was found, counting one lookup that the kernel is about to be told of. If it
  // is not told after all: Forget(inode, 1).
  Inode& Remember(FoundObject found);
  void Forget(Inode& inode, uint64_t lookups);
  // The object of `fd` (O_PATH) is about to lose a name.
  KeptOpen KeepOpen(const ObjectId& object, int mount_id, UniqueFd fd);
  // An object that has just lost its last name takes up space until the kernel has forgotten it,
  // which takes it a moment, and its descriptor is closed. Waits for both, but not beyond the
  // deadline: somebody may have the object open, a disk may be slow, and others may go on removing.
  // False: there was nothing to wait for, or no time.
  bool FinishRemovals(std::chrono::steady_clock::time_point deadline);
  // An object that Remember found without a name has been given one.
  void HasName(Inode& inode) { (void)inode.fd_.Unpin(descriptors_); }

 private:
  // A hash table of the Inodes, chained through them.
  struct Shard {
    Mutex mutex;
    std::vector<Inode*> chains GUARDED_BY(mutex) = std::vector<Inode*>(1);
    size_t count GUARDED_BY(mutex) = 0;
  };

  explicit InodeTable(FoundObject root);
  int MountOf(int mount_id) const { return mount_id == root_mount_id_ ? 0 : mount_id; }
  // Handles, and so ids, are unique within one filesystem only.
  static size_t HashOf(const ObjectId& object, int mount) {
    return std::hash<ObjectId>()(object) + static_cast<size_t>(mount);
  }
  Shard& ShardOf(const ObjectId& object, int mount) {
    return shards_[HashOf(object, mount) % kInodeShards];
  }
  // Where in its chain the Inode's pointer stands, or is to stand.
  static Inode** PlaceOf(Shard& shard, const ObjectId& object, int mount) REQUIRES(shard.mutex);
  static void Rehash(Shard& shard, size_t chains) REQUIRES(shard.mutex);
  void LetClose(const ObjectId& object, int mount, uint64_t generation);
  void NoteRemoved(const ObjectId& object, int mount, uint64_t generation);
  void Destroy(Inode* inode);

  // Before the inodes: they use it.
  const UniqueFd mount_fd_;
  DescriptorCache descriptors_;
  Reaper reaper_;
  const int root_mount_id_;
  const std::unique_ptr<Inode> root_;
  std::array<Shard, kInodeShards> shards_;
  std::atomic<uint64_t> last_generation_{0};
  // Inodes whose object has lost its last name, and KeptOpens; and when there last was a new one.
  std::atomic<size_t> removed_{0};
  std::atomic<std::chrono::steady_clock::time_point> last_removal_{};
  // Destroyed since memory was last given back to the system.
  std::atomic<size_t> destroyed_{0};
};

}  // namespace tandem::fs
