// The objects that the kernel knows. Its node id is the address of our Inode, or 1 for the root. An
// object has one Inode, whatever its names. An Inode lives as long as the kernel's lookup count of
// it is not zero. The kernel sends no forget for a node that a running request names, so handlers
// use the Inodes of their request without holding anything.
//
// A listing of a million files makes a million Inodes, so they are small. Where objects can be
// opened by handle, to find one opens no descriptor.
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
#include "fs/objects/nosec_flag.h"
#include "fs/objects/reaper.h"
#include "fs/objects/tuning.h"
#include "fs/serving/fuse_api.h"
#include "meta/base/fd_path.h"
#include "meta/base/mutex.h"
#include "meta/base/unique_fd.h"
#include "meta/change/change_set.h"

namespace tandem::fs {

// An O_PATH descriptor of an Inode. It stays open while this lives.
class InodeFd {
 public:
  explicit InodeFd(CachedDescriptor::Use use) : use_(std::move(use)) {}
  int get() const { return use_.get(); }
  FdPath path() const { return FdPath(get()); }

 private:
  CachedDescriptor::Use use_;
};

// An object that was found by name or through a descriptor.
struct FoundObject {
  meta::ObjectRef ref;
  int mount_id = 0;
  struct stat attributes;
  UniqueFd fd;  // O_PATH; invalid if the object can be opened by its handle
};

class Inode {
 public:
  const meta::ObjectRef& ref() const { return ref_; }
  // Returns false for an object on a filesystem mounted below SOURCE: it is not captured.
  bool in_volume() const { return mount_ == 0; }
  // Differs from that of an earlier Inode at the same address.
  uint64_t generation() const { return generation_; }

  // Returns the inode number to show for inode `backing` of this object's filesystem. In the volume
  // it is the same. The whole mount has one st_dev, so numbers from filesystems mounted below
  // SOURCE are changed to be different.
  ino_t PublicNumber(ino_t backing) const {
    constexpr int kMountShift = 40;
    return backing ^ (static_cast<ino_t>(mount_) << kMountShift);
  }

  // Whether the object is known to have no privileges that a write would clear.
  NosecFlag& nosec() const { return nosec_; }

  // For a directory.
  KnownNames& known_names() const { return known_names_; }

  // A directory that has been read has perhaps a place among the listings (listings.h).
  void NoteListed() const { is_listed_.store(true, std::memory_order_relaxed); }
  bool is_listed() const { return is_listed_.load(std::memory_order_relaxed); }

  bool IsOpenForWriting() const { return writers_.load(std::memory_order_relaxed) != 0; }

 private:
  friend class InodeTable;
  friend class ScopedWriter;

  Inode(FoundObject found, int mount, uint64_t generation, DescriptorCache& cache)
      : ref_(std::move(found.ref)),
        fd_(mount == 0 && ref_.id != kRootObject && cache.CanReopen(ref_.handle),
            std::move(found.fd)),
        generation_(generation),
        mount_(mount) {}

  const meta::ObjectRef ref_;
  mutable CachedDescriptor fd_;
  // These three are guarded by the mutex of the table's shard.
  Inode* next_ = nullptr;  // in the shard's chain
  uint64_t lookups_ = 0;
  bool removed_ = false;
  const uint64_t generation_;
  const int mount_;  // 0 for SOURCE's own mount, otherwise the id of a mount below it
  mutable NosecFlag nosec_;
  mutable std::atomic<uint32_t> writers_{0};
  mutable KnownNames known_names_;
  mutable std::atomic<bool> is_listed_{false};
};

// Counts its Inode as open for writing while it lives. The Inode outlives it: the kernel forgets no
// object that it has open.
class ScopedWriter {
 public:
  explicit ScopedWriter(const Inode& inode) : inode_(inode) { ++inode_.writers_; }
  ScopedWriter(ScopedWriter&&) = delete;
  ~ScopedWriter() { --inode_.writers_; }

  const Inode& inode() const { return inode_; }

 private:
  const Inode& inode_;
};

class InodeTable {
 public:
  // Lives while an object loses a name. Keeps the descriptor of its Inode open; afterwards too if
  // that was the last name, because then the object cannot be opened again.
  class RemovalGuard {
   public:
    RemovalGuard() = default;
    RemovalGuard(RemovalGuard&& other) noexcept { *this = std::move(other); }
    RemovalGuard& operator=(RemovalGuard&& other) noexcept;
    ~RemovalGuard();

    // O_PATH. Requires that this was not default-constructed.
    int fd() const { return use_.get(); }
    // Returns that of its Inode; 0 if the kernel does not know the object.
    uint64_t generation() const { return generation_; }

   private:
    friend class InodeTable;
    explicit RemovalGuard(CachedDescriptor::Use use) : use_(std::move(use)) {}
    CachedDescriptor::Use use_;
    InodeTable* table_ = nullptr;  // null: the kernel does not know the object
    ObjectId object_;
    int mount_ = 0;
    uint64_t generation_ = 0;
    nlink_t links_ = 0;  // before the removal; only where objects are reopened by name
  };

  // `directory_fd` is the volume's root.
  static Result<std::unique_ptr<InodeTable>> Create(int directory_fd);
  ~InodeTable();

  // Sets how to open objects of the volume if their handles cannot be opened. Called before the
  // first Find.
  void ReopenWith(DescriptorCache::Reopen reopen);

  const Inode& root() const { return *root_; }
  // O_RDONLY, borrowed. -1 if this process may not read the root.
  int root_fd() const { return mount_fd_.get(); }
  // Requires that `node` came from the kernel.
  Inode& Get(fuse_ino_t node) {
    return node == FUSE_ROOT_ID ? *root_ : *reinterpret_cast<Inode*>(node);
  }
  fuse_ino_t NodeOf(const Inode& inode) const {
    return &inode == root_.get() ? FUSE_ROOT_ID : reinterpret_cast<fuse_ino_t>(&inode);
  }

  // `object` is in the volume. Returns 0 if the kernel does not know it.
  fuse_ino_t NodeOf(const ObjectId& object);

  Result<InodeFd> Descriptor(const Inode& inode) {
    ASSIGN_OR_RETURN(CachedDescriptor::Use use, inode.fd_.Get(descriptors_, inode.ref_));
    return InodeFd(std::move(use));
  }
  Result<InodeFd> Descriptor(fuse_ino_t node) { return Descriptor(Get(node)); }
  // Opens the object for reading or writing. `flags` as for open(2), without O_CREAT.
  Result<UniqueFd> Open(const Inode& inode, int flags);

  // Fails as fstatat does, with ENOENT if there is no such name. Does not follow symlinks. Reads
  // attributes and handle by two system calls: the kernel's lock on the directory keeps the name
  // from changing in between.
  Result<FoundObject> Find(int directory_fd, const char* name) const;
  // Finds the object of an open descriptor.
  Result<FoundObject> FindOpen(int fd) const;

  bool IsInVolume(const FoundObject& found) const { return MountOf(found.mount_id) == 0; }

  // Returns the object's Inode and counts one lookup, which the reply tells the kernel of. If the
  // reply fails, call Forget(inode, 1).
  Inode& Remember(FoundObject found);
  void Forget(Inode& inode, uint64_t lookups);
  // Called before an object loses a name. `fd` is an O_PATH descriptor of it.
  RemovalGuard GuardRemoval(const ObjectId& object, int mount_id, UniqueFd fd);
  // Waits until the objects that have just lost their last name are freed: until the kernel has
  // forgotten them, which takes it a moment, and their descriptors are closed. Gives up at the
  // deadline, since an object may be open, the disk slow, and removals may go on. Returns false if
  // there was nothing to wait for, or no time.
  bool FinishRemovals(std::chrono::steady_clock::time_point deadline);
  // Called after an object that had no name at Remember (O_TMPFILE) was linked.
  void NoteLinked(Inode& inode) { (void)inode.fd_.Unpin(descriptors_); }

 private:
  // A hash table with chains through the Inodes.
  struct Shard {
    Mutex mutex;
    std::vector<Inode*> chains GUARDED_BY(mutex) = std::vector<Inode*>(1);
    size_t count GUARDED_BY(mutex) = 0;
  };

  explicit InodeTable(FoundObject root);
  int MountOf(int mount_id) const { return mount_id == root_mount_id_ ? 0 : mount_id; }
  // Includes the mount, since handles, and so object ids, are unique within one filesystem only.
  static size_t HashOf(const ObjectId& object, int mount) {
    return std::hash<ObjectId>()(object) + static_cast<size_t>(mount);
  }
  Shard& ShardOf(const ObjectId& object, int mount) {
    return shards_[HashOf(object, mount) % kInodeShards];
  }
  // Returns the pointer to the Inode in its chain, or the null pointer at the end of that chain.
  static Inode** SlotOf(Shard& shard, const ObjectId& object, int mount) REQUIRES(shard.mutex);
  static void Rehash(Shard& shard, size_t chains) REQUIRES(shard.mutex);
  void AllowClose(const ObjectId& object, int mount, uint64_t generation);
  void NoteRemoved(const ObjectId& object, int mount, uint64_t generation);
  void Destroy(Inode* inode);

  // Declared before the Inodes, which use it.
  const UniqueFd mount_fd_;
  DescriptorCache descriptors_;
  Reaper reaper_;
  const int root_mount_id_;
  const std::unique_ptr<Inode> root_;
  std::array<Shard, kInodeShards> shards_;
  std::atomic<uint64_t> last_generation_{0};
  // Inodes whose object has lost its last name, plus RemovalGuards; and when one was last added.
  std::atomic<size_t> removed_{0};
  std::atomic<std::chrono::steady_clock::time_point> last_removal_{};
  // Inodes destroyed since the last malloc_trim.
  std::atomic<size_t> destroyed_{0};
};

}  // namespace tandem::fs
