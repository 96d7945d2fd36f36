#include "fs/objects/descriptor_cache.h"

#include <fcntl.h>
#include <sys/resource.h>

#include <algorithm>
#include <utility>

#include "fs/objects/tuning.h"

namespace tandem::fs {
namespace {

// Leaves descriptors for open files, pinned objects and the daemon itself.
size_t LimitFromProcess() {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return kMaxCachedDescriptors;
  return std::min<size_t>(limit.rlim_cur / kCachedDescriptorsShare, kMaxCachedDescriptors);
}

}  // namespace

// ---- DescriptorCache ---------------------------------------------------------------------------

DescriptorCache::DescriptorCache(int mount_fd, const FileHandle& probe)
    : mount_fd_(mount_fd),
      opens_by_handle_(!probe.empty() && OpenByHandle(mount_fd, probe, O_PATH)),
      limit_(std::max<size_t>(1, LimitFromProcess() / kDescriptorShards)) {}

DescriptorCache::Shard& DescriptorCache::ShardOf(const CachedDescriptor& descriptor) {
  // An Inode takes more than 64 bytes, so the lowest bits tell nothing.
  const auto address = reinterpret_cast<uintptr_t>(&descriptor);
  return shards_[(address >> 7) % kDescriptorShards];
}

std::vector<DescriptorCache::Shared> DescriptorCache::Admit(Shard& shard,
                                                            CachedDescriptor& descriptor) {
  std::vector<Shared> closed;
  Entry& admitted = *descriptor.open_;
  if (!admitted.listed) {
    admitted.owner = &descriptor;
    admitted.place = shard.open.insert(shard.open.end(), &admitted);
    admitted.listed = true;
  }
  for (size_t looks = 2 * shard.open.size(); shard.open.size() > limit_ && looks > 0; --looks) {
    Entry& oldest = *shard.open.front();
    const bool pinned = oldest.owner->pins_ > 0;
    if (!pinned && std::exchange(oldest.used, false)) {
      shard.open.splice(shard.open.end(), shard.open, shard.open.begin());
      continue;
    }
    Unlist(shard, oldest);
    if (!pinned) closed.push_back(std::move(oldest.owner->open_));
  }
  return closed;
}

void DescriptorCache::Unlist(Shard& shard, Entry& open) {
  if (!std::exchange(open.listed, false)) return;
  shard.open.erase(open.place);
}

// ---- CachedDescriptor --------------------------------------------------------------------------

CachedDescriptor::Use::Use(UniqueFd fd) : open_(std::make_shared<DescriptorCache::Entry>()) {
  open_->fd = std::move(fd);
}

Result<UniqueFd> DescriptorCache::OpenAgain(const meta::ObjectRef& object) const {
  if (reopen_ != nullptr) return reopen_(object);
  return OpenByHandle(mount_fd_, object.handle, O_PATH | O_NOFOLLOW);
}

CachedDescriptor::CachedDescriptor(bool can_reopen, UniqueFd fd) {
  if (!can_reopen) pins_ = 1;
  if (!fd.valid()) return;
  open_ = std::make_shared<DescriptorCache::Entry>();
  open_->fd = std::move(fd);
}

std::vector<CachedDescriptor::Shared> CachedDescriptor::AllowClose(DescriptorCache& cache) {
  DescriptorCache::Shard& shard = cache.ShardOf(*this);
  MutexLock lock(shard.mutex);
  if (pins_ > 0 || open_ == nullptr) return {};
  return cache.Admit(shard, *this);
}

CachedDescriptor::Released CachedDescriptor::Release(DescriptorCache& cache) {
  DescriptorCache::Shard& shard = cache.ShardOf(*this);
  MutexLock lock(shard.mutex);
  if (open_ != nullptr) DescriptorCache::Unlist(shard, *open_);
  return {std::move(open_), pins_ > 0};
}

Result<CachedDescriptor::Use> CachedDescriptor::Get(DescriptorCache& cache,
                                                    const meta::ObjectRef& object) {
  DescriptorCache::Shard& shard = cache.ShardOf(*this);
  {
    MutexLock lock(shard.mutex);
    if (open_ != nullptr) {
      open_->used = true;
      return Use(open_);
    }
  }
  auto opened = std::make_shared<DescriptorCache::Entry>();
  ASSIGN_OR_RETURN(opened->fd, cache.OpenAgain(object));
  std::vector<Shared> closed;
  MutexLock lock(shard.mutex);
  // Another thread may have been quicker.
  if (open_ != nullptr) return Use(open_);
  open_ = opened;
  closed = cache.Admit(shard, *this);
  return Use(std::move(opened));
}

CachedDescriptor::Use CachedDescriptor::Pin(DescriptorCache& cache, UniqueFd fd) {
  Use use(std::move(fd));
  MutexLock lock(cache.ShardOf(*this).mutex);
  ++pins_;
  if (open_ == nullptr) open_ = use.open_;
  // If `fd` is not used, the destructor of `use` closes it after the mutex is released.
  return open_ == use.open_ ? use : Use(open_);
}

std::vector<CachedDescriptor::Shared> CachedDescriptor::Unpin(DescriptorCache& cache) {
  DescriptorCache::Shard& shard = cache.ShardOf(*this);
  MutexLock lock(shard.mutex);
  if (--pins_ > 0 || open_ == nullptr) return {};
  return cache.Admit(shard, *this);
}

}  // namespace tandem::fs
