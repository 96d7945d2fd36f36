#include "fs/objects/descriptor_cache.h"

#include <fcntl.h>
#include <sys/resource.h>

#include <algorithm>
#include <utility>

#include "fs/objects/tuning.h"

namespace tandem::fs {
namespace {

// The rest is for what applications have open, for kept objects and for ourselves.
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
      limit_(std::max<size_t>(1, LimitFromProcess() / kDescriptorDivisions)) {}

DescriptorCache::Division& DescriptorCache::DivisionOf(const CachedDescriptor& descriptor) {
  // Inodes lie at least a hundred bytes apart.
  const auto address = reinterpret_cast<uintptr_t>(&descriptor);
  return divisions_[(address >> 7) % kDescriptorDivisions];
}

std::vector<DescriptorCache::Shared> DescriptorCache::Admit(Division& division,
                                                            CachedDescriptor& descriptor) {
  std::vector<Shared> closed;
  Open& admitted = *descriptor.open_;
  if (!admitted.listed) {
    admitted.owner = &descriptor;
    admitted.place = division.open.insert(division.open.end(), &admitted);
    admitted.listed = true;
  }
  for (size_t looks = 2 * division.open.size(); division.open.size() > limit_ && looks > 0;
       --looks) {
    Open& oldest = *division.open.front();
    const bool pinned = oldest.owner->pins_ > 0;
    if (!pinned && std::exchange(oldest.used, false)) {
      division.open.splice(division.open.end(), division.open, division.open.begin());
      continue;
    }
    Unlist(division, oldest);
    if (!pinned) closed.push_back(std::move(oldest.owner->open_));
  }
  return closed;
}

void DescriptorCache::Unlist(Division& division, Open& open) {
  if (!std::exchange(open.listed, false)) return;
  division.open.erase(open.place);
}

// ---- CachedDescriptor --------------------------------------------------------------------------

CachedDescriptor::Use::Use(UniqueFd fd) : open_(std::make_shared<DescriptorCache::Open>()) {
  open_->fd = std::move(fd);
}

Result<UniqueFd> DescriptorCache::OpenAgain(const meta::ObjectRef& object) const {
  if (reopen_ != nullptr) return reopen_(object);
  return OpenByHandle(mount_fd_, object.handle, O_PATH | O_NOFOLLOW);
}

CachedDescriptor::CachedDescriptor(bool can_reopen, UniqueFd fd) {
  if (!can_reopen) pins_ = 1;
  if (!fd.valid()) return;
  open_ = std::make_shared<DescriptorCache::Open>();
  open_->fd = std::move(fd);
}

std::vector<CachedDescriptor::Shared> CachedDescriptor::LetClose(DescriptorCache& cache) {
  DescriptorCache::Division& division = cache.DivisionOf(*this);
  MutexLock lock(division.mutex);
  if (pins_ > 0 || open_ == nullptr) return {};
  return cache.Admit(division, *this);
}

CachedDescriptor::Released CachedDescriptor::Release(DescriptorCache& cache) {
  DescriptorCache::Division& division = cache.DivisionOf(*this);
  MutexLock lock(division.mutex);
  if (open_ != nullptr) DescriptorCache::Unlist(division, *open_);
  return {std::move(open_), pins_ > 0};
}

Result<CachedDescriptor::Use> CachedDescriptor::Get(DescriptorCache& cache,
                                                    const meta::ObjectRef& object) {
  DescriptorCache::Division& division = cache.DivisionOf(*this);
  {
    MutexLock lock(division.mutex);
    if (open_ != nullptr) {
      open_->used = true;
      return Use(open_);
    }
  }
  auto opened = std::make_shared<DescriptorCache::Open>();
  ASSIGN_OR_RETURN(opened->fd, cache.OpenAgain(object));
  std::vector<Shared> closed;
  MutexLock lock(division.mutex);
  // Another thread may have been quicker.
  if (open_ != nullptr) return Use(open_);
  open_ = opened;
  closed = cache.Admit(division, *this);
  return Use(std::move(opened));
}

CachedDescriptor::Use CachedDescriptor::Pin(DescriptorCache& cache, UniqueFd fd) {
  Use use(std::move(fd));
  MutexLock lock(cache.DivisionOf(*this).mutex);
  ++pins_;
  if (open_ == nullptr) open_ = use.open_;
  // What is not needed is closed after the mutex is released.
  return open_ == use.open_ ? use : Use(open_);
}

std::vector<CachedDescriptor::Shared> CachedDescriptor::Unpin(DescriptorCache& cache) {
  DescriptorCache::Division& division = cache.DivisionOf(*this);
  MutexLock lock(division.mutex);
  if (--pins_ > 0 || open_ == nullptr) return {};
  return cache.Admit(division, *this);
}

}  // namespace tandem::fs
