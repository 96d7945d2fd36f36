#include "fs/descriptor_cache.h"

#include <fcntl.h>
#include <sys/resource.h>

#include <algorithm>
#include <utility>

namespace tandem::fs {
namespace {

// The rest is for what applications have open, for kept objects and for ourselves.
size_t LimitFromProcess() {
  constexpr size_t kMost = 16384;
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return kMost;
  return std::min<size_t>(limit.rlim_cur / 4, kMost);
}

}  // namespace

CachedDescriptor::CachedDescriptor(DescriptorCache& cache, const FileHandle& handle, UniqueFd fd)
    : cache_(cache),
      handle_(handle),
      fd_(std::make_shared<const UniqueFd>(std::move(fd))),
      pins_(handle.bytes.empty() || !cache.opens_by_handle() ? 1 : 0) {
  if (pins_ == 0) cache_.Admit(*this);
}

CachedDescriptor::~CachedDescriptor() { cache_.Remove(*this); }

Result<CachedDescriptor::Shared> CachedDescriptor::Get() {
  Shared fd;
  {
    MutexLock lock(mutex_);
    used_ = true;
    if (fd_ != nullptr) return fd_;
    ASSIGN_OR_RETURN(UniqueFd opened, OpenByHandle(cache_.mount_fd_, handle_, O_PATH | O_NOFOLLOW));
    fd_ = std::make_shared<const UniqueFd>(std::move(opened));
    fd = fd_;
  }
  cache_.Admit(*this);
  return fd;
}

void CachedDescriptor::Pin(Shared fd) {
  MutexLock lock(mutex_);
  ++pins_;
  if (fd_ == nullptr) fd_ = std::move(fd);
}

void CachedDescriptor::Unpin() {
  {
    MutexLock lock(mutex_);
    if (--pins_ > 0) return;
  }
  cache_.Admit(*this);
}

DescriptorCache::DescriptorCache(int mount_fd, const FileHandle& probe)
    : mount_fd_(mount_fd),
      opens_by_handle_(!probe.bytes.empty() && OpenByHandle(mount_fd, probe, O_PATH)),
      limit_(LimitFromProcess()) {}

void DescriptorCache::Admit(CachedDescriptor& descriptor) {
  // Outlive the locks: closing the last descriptor of an unlinked file frees its blocks.
  std::list<CachedDescriptor::Shared> closed;
  MutexLock lock(mutex_);
  if (!descriptor.listed_) {
    descriptor.place_ = open_.insert(open_.end(), &descriptor);
    descriptor.listed_ = true;
  }
  for (size_t looks = 2 * open_.size(); open_.size() > limit_ && looks > 0; --looks) {
    CachedDescriptor& oldest = *open_.front();
    MutexLock oldest_lock(oldest.mutex_);
    const bool pinned = oldest.pins_ > 0;
    if (!pinned && std::exchange(oldest.used_, false)) {
      open_.splice(open_.end(), open_, open_.begin());
      continue;
    }
    if (!pinned) closed.push_back(std::exchange(oldest.fd_, nullptr));
    open_.pop_front();
    oldest.listed_ = false;
  }
}

void DescriptorCache::Remove(CachedDescriptor& descriptor) {
  MutexLock lock(mutex_);
  if (descriptor.listed_) open_.erase(descriptor.place_);
  descriptor.listed_ = false;
}

}  // namespace tandem::fs
