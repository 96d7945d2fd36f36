#include "fs/objects/inode_table.h"

#include <fcntl.h>
#include <malloc.h>
#include <sys/resource.h>

#include <algorithm>
#include <fstream>
#include <thread>
#include <utility>

#include "fs/objects/tuning.h"

namespace tandem::fs {
namespace {

// Describes the object at (fd, name). If `name` is empty, the object of `fd` itself.
Result<FoundObject> Describe(int fd, const char* name) {
  FoundObject found;
  const int flags = *name == '\0' ? AT_EMPTY_PATH : AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT;
  if (fstatat(fd, name, &found.attributes, flags) != 0) return ErrnoError("look up");
  ASSIGN_OR_RETURN(IdentifiedObject object, Identify(fd, name));
  found.ref = {object.id, std::move(object.handle)};
  found.mount_id = object.mount_id;
  return found;
}

Result<FoundObject> DescribeOpened(UniqueFd fd) {
  if (!fd.valid()) return ErrnoError("look up");
  ASSIGN_OR_RETURN(FoundObject found, Describe(fd.get(), ""));
  found.fd = std::move(fd);
  return found;
}

// Raises RLIMIT_NOFILE to fs.nr_open, because each object that the kernel remembers takes a
// descriptor. Does nothing without CAP_SYS_RESOURCE.
void RaiseDescriptorLimit() {
  std::ifstream file("/proc/sys/fs/nr_open");
  rlim_t most = 0;
  rlimit limit;
  if (!(file >> most) || getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_max >= most) return;
  limit = {most, most};
  (void)setrlimit(RLIMIT_NOFILE, &limit);
}

UniqueFd OpenPath(int directory_fd, const char* name) {
  return UniqueFd(openat(directory_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
}

}  // namespace

Result<std::unique_ptr<InodeTable>> InodeTable::Create(int directory_fd) {
  ASSIGN_OR_RETURN(FoundObject found, DescribeOpened(OpenPath(directory_fd, ".")));
  std::unique_ptr<InodeTable> table(new InodeTable(std::move(found)));
  if (!table->descriptors_.opens_by_handle()) RaiseDescriptorLimit();
  return table;
}

// open_by_handle_at refuses an O_PATH descriptor, so the root is opened for reading. A process that
// may not read it may not open handles either.
InodeTable::InodeTable(FoundObject root)
    : mount_fd_(openat(root.fd.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)),
      descriptors_(mount_fd_.get(), root.ref.handle),
      root_mount_id_(root.mount_id),
      root_([&] {
        // Without a handle it is never opened again: its descriptor stays open.
        root.ref = {kRootObject, {}};
        return new Inode(std::move(root), 0, 0, descriptors_);
      }()) {}

void InodeTable::ReopenWith(DescriptorCache::Reopen reopen) {
  if (!descriptors_.opens_by_handle()) descriptors_.ReopenWith(std::move(reopen));
}

InodeTable::~InodeTable() {
  for (Shard& shard : shards_) {
    MutexLock lock(shard.mutex);
    for (Inode* inode : shard.chains) {
      while (inode != nullptr) delete std::exchange(inode, inode->next_);
    }
  }
}

// ---- Finding and opening -----------------------------------------------------------------------

Result<FoundObject> InodeTable::Find(int directory_fd, const char* name) const {
  if (descriptors_.opens_by_handle()) {
    ASSIGN_OR_RETURN(FoundObject found, Describe(directory_fd, name));
    if (found.mount_id == root_mount_id_ && !found.ref.handle.empty()) return found;
  }
  return DescribeOpened(OpenPath(directory_fd, name));
}

Result<FoundObject> InodeTable::FindOpen(int fd) const {
  ASSIGN_OR_RETURN(FoundObject found, Describe(fd, ""));
  const bool can_be_opened = descriptors_.opens_by_handle() && found.mount_id == root_mount_id_ &&
                             !found.ref.handle.empty() && found.attributes.st_nlink > 0;
  if (can_be_opened) return found;
  found.fd.Reset(open(FdPath(fd).c_str(), O_PATH | O_CLOEXEC));
  if (!found.fd.valid()) return ErrnoError("look up");
  return found;
}

Result<UniqueFd> InodeTable::Open(const Inode& inode, int flags) {
  if (descriptors_.opens_by_handle() && inode.in_volume() && !inode.ref_.handle.empty()) {
    Result<UniqueFd> fd = OpenByHandle(mount_fd_.get(), inode.ref_.handle, flags);
    // ESTALE: it has no name any more. Only its own descriptor leads to it.
    if (fd || fd.error().code() != ESTALE) return fd;
  }
  ASSIGN_OR_RETURN(const InodeFd inode_fd, Descriptor(inode));
  // The path is a magic link to the object, so it must be followed.
  UniqueFd fd(open(inode_fd.path().c_str(), (flags & ~O_NOFOLLOW) | O_CLOEXEC));
  if (!fd.valid()) return ErrnoError("open");
  return fd;
}

// ---- The table ---------------------------------------------------------------------------------

Inode** InodeTable::SlotOf(Shard& shard, const ObjectId& object, int mount) {
  const size_t chain = HashOf(object, mount) / kInodeShards % shard.chains.size();
  Inode** slot = &shard.chains[chain];
  while (*slot != nullptr && ((*slot)->ref_.id != object || (*slot)->mount_ != mount)) {
    slot = &(*slot)->next_;
  }
  return slot;
}

void InodeTable::Rehash(Shard& shard, size_t chains) {
  std::vector<Inode*> old(chains);
  old.swap(shard.chains);
  for (Inode* inode : old) {
    while (inode != nullptr) {
      Inode* const moved = std::exchange(inode, inode->next_);
      moved->next_ = nullptr;
      *SlotOf(shard, moved->ref_.id, moved->mount_) = moved;
    }
  }
}

Inode& InodeTable::Remember(FoundObject found) {
  const int mount = MountOf(found.mount_id);
  const bool nameless = found.attributes.st_nlink == 0;  // O_TMPFILE
  std::vector<CachedDescriptor::Shared> closed;
  Shard& shard = ShardOf(found.ref.id, mount);
  MutexLock lock(shard.mutex);
  Inode** slot = SlotOf(shard, found.ref.id, mount);
  if (*slot == nullptr) {
    if (shard.count == shard.chains.size()) {
      Rehash(shard, 2 * shard.count);
      slot = SlotOf(shard, found.ref.id, mount);
    }
    UniqueFd fd = nameless ? std::move(found.fd) : UniqueFd();
    *slot = new Inode(std::move(found), mount, ++last_generation_, descriptors_);
    ++shard.count;
    if (nameless) {
      (void)(*slot)->fd_.Pin(descriptors_, std::move(fd));
    } else {
      closed = (*slot)->fd_.AllowClose(descriptors_);
    }
  }
  ++(*slot)->lookups_;
  return **slot;
}

void InodeTable::Forget(Inode& inode, uint64_t lookups) {
  if (&inode == root_.get()) return;
  Shard& shard = ShardOf(inode.ref_.id, inode.mount_);
  {
    MutexLock lock(shard.mutex);
    inode.lookups_ -= std::min(lookups, inode.lookups_);
    if (inode.lookups_ > 0) return;
    *SlotOf(shard, inode.ref_.id, inode.mount_) = inode.next_;
    --shard.count;
    if (shard.chains.size() > kSparseChains * shard.count + kSparseChains) {
      Rehash(shard, shard.chains.size() / 2);
    }
  }
  Destroy(&inode);
}

void InodeTable::Destroy(Inode* inode) {
  CachedDescriptor::Released released = inode->fd_.Release(descriptors_);
  if (released.pinned) reaper_.Close(std::move(released.open));
  if (inode->removed_) --removed_;
  delete inode;
  if (++destroyed_ < kDestroyedPerTrim) return;
  destroyed_ = 0;
  malloc_trim(0);
}

fuse_ino_t InodeTable::NodeOf(const ObjectId& object) {
  Shard& shard = ShardOf(object, 0);
  MutexLock lock(shard.mutex);
  const Inode* const inode = *SlotOf(shard, object, 0);
  return inode == nullptr ? 0 : NodeOf(*inode);
}

InodeTable::RemovalGuard InodeTable::GuardRemoval(const ObjectId& object, int mount_id,
                                                  UniqueFd fd) {
  const int mount = MountOf(mount_id);
  struct stat before = {};
  if (descriptors_.reopens_by_name()) (void)fstatat(fd.get(), "", &before, AT_EMPTY_PATH);
  Shard& shard = ShardOf(object, mount);
  MutexLock lock(shard.mutex);
  Inode* const inode = *SlotOf(shard, object, mount);
  if (inode == nullptr) return RemovalGuard(CachedDescriptor::Use(std::move(fd)));
  RemovalGuard guard(inode->fd_.Pin(descriptors_, std::move(fd)));
  guard.table_ = this;
  guard.object_ = object;
  guard.mount_ = mount;
  guard.links_ = before.st_nlink;
  guard.generation_ = inode->generation();
  ++removed_;
  last_removal_ = std::chrono::steady_clock::now();
  return guard;
}

void InodeTable::AllowClose(const ObjectId& object, int mount, uint64_t generation) {
  std::vector<CachedDescriptor::Shared> closed;
  Shard& shard = ShardOf(object, mount);
  MutexLock lock(shard.mutex);
  Inode* const inode = *SlotOf(shard, object, mount);
  if (inode != nullptr && inode->generation() == generation) {
    closed = inode->fd_.Unpin(descriptors_);
  }
}

void InodeTable::NoteRemoved(const ObjectId& object, int mount, uint64_t generation) {
  Shard& shard = ShardOf(object, mount);
  MutexLock lock(shard.mutex);
  Inode* const inode = *SlotOf(shard, object, mount);
  if (inode == nullptr || inode->generation() != generation) return;
  if (!std::exchange(inode->removed_, true)) ++removed_;
}

bool InodeTable::FinishRemovals(std::chrono::steady_clock::time_point deadline) {
  using std::chrono::steady_clock;
  auto now = steady_clock::now();
  if (now >= deadline) return false;
  bool waited = false;
  while (removed_ > 0 && now - last_removal_.load() < kForgetTime && now < deadline) {
    std::this_thread::sleep_for(kForgetPoll);
    waited = true;
    now = steady_clock::now();
  }
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - now);
  return reaper_.Finish(std::max(left, std::chrono::milliseconds(0))) || waited;
}

InodeTable::RemovalGuard& InodeTable::RemovalGuard::operator=(RemovalGuard&& other) noexcept {
  std::swap(use_, other.use_);
  std::swap(table_, other.table_);
  std::swap(object_, other.object_);
  std::swap(mount_, other.mount_);
  std::swap(generation_, other.generation_);
  std::swap(links_, other.links_);
  return *this;
}

InodeTable::RemovalGuard::~RemovalGuard() {
  if (table_ == nullptr) return;
  struct stat now;
  const bool has_name = fstatat(fd(), "", &now, AT_EMPTY_PATH) == 0 && now.st_nlink > 0;
  // overlayfs does not count down the links of a file in a lower layer. If the count has not gone
  // down, the object may have no name, so it keeps its descriptor.
  const bool may_have_none = table_->descriptors_.reopens_by_name() && now.st_nlink >= links_;
  if (has_name && !may_have_none) {
    table_->AllowClose(object_, mount_, generation_);
  } else {
    table_->NoteRemoved(object_, mount_, generation_);
  }
  use_ = {};  // may close the descriptor
  --table_->removed_;
}

}  // namespace tandem::fs
