#include "replica/apply/kept_bases.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <iterator>
#include <utility>

#include "meta/base/fault_point.h"
#include "replica/apply/removal.h"
#include "replica/apply/tree.h"

namespace tandem::replica {
namespace {

constexpr char kName[] = "kept";
constexpr uint64_t kBlockOfStat = 512;

// Returns what the file takes on the disk; 0 if it is not worth keeping.
uint64_t BytesOfUse(const struct stat& file) {
  if (!S_ISREG(file.st_mode) || file.st_nlink != 1) return 0;
  const auto bytes = static_cast<uint64_t>(file.st_blocks) * kBlockOfStat;
  return bytes < KeptBases::kLeast ? 0 : bytes;
}

}  // namespace

// ---- The budget --------------------------------------------------------------------------------

uint64_t KeptBudget::LimitOn(int fd) const {
  if (bytes_ != 0 || percent_ == 0) return bytes_;
  struct statvfs filesystem = {};
  if (fstatvfs(fd, &filesystem) != 0) return 0;
  const uint64_t free = uint64_t{filesystem.f_bavail} * filesystem.f_frsize + used_;
  return free / 100 * percent_;
}

void KeptBudget::DropAll() {
  MutexLock lock(mutex_);
  for (KeptBases* const bases : all_) bases->DropOwn();
}

void KeptBudget::DropOld() {
  MutexLock lock(mutex_);
  for (KeptBases* const bases : all_) bases->DropOld();
}

void KeptBudget::Join(KeptBases& bases) {
  MutexLock lock(mutex_);
  all_.insert(&bases);
}

void KeptBudget::Leave(KeptBases& bases) {
  MutexLock lock(mutex_);
  all_.erase(&bases);
}

// ---- What a volume keeps -----------------------------------------------------------------------

KeptBases::KeptBases(std::shared_ptr<KeptBudget> budget) : budget_(std::move(budget)) {
  if (budget_ != nullptr) budget_->Join(*this);
}

KeptBases::~KeptBases() {
  if (budget_ == nullptr) return;
  budget_->Leave(*this);
  DropOwn();
}

Status KeptBases::Open(int stage_fd) {
  if (mkdirat(stage_fd, kName, 0700) != 0 && errno != EEXIST) {
    return ErrnoError("make directory stage/kept");
  }
  ASSIGN_OR_RETURN(UniqueFd fd, OpenBeneath(stage_fd, kName, O_RDONLY | O_DIRECTORY));
  ASSIGN_OR_RETURN(const auto names, NamesIn(fd.get()));
  for (const std::string& name : names) RETURN_IF_ERROR(RemoveAll(fd.get(), fd.get(), name, {}));
  fd_ = std::move(fd);
  return {};
}

bool KeptBases::MayBeOfUse(int directory_fd, const std::string& name) {
  struct stat file = {};
  return fstatat(directory_fd, name.c_str(), &file, AT_SYMLINK_NOFOLLOW) == 0 &&
         BytesOfUse(file) != 0;
}

bool KeptBases::Take(int directory_fd, const std::string& name, ObjectId object) {
  if (!keeps() || object.is_null()) return false;
  struct stat file = {};
  if (fstatat(directory_fd, name.c_str(), &file, AT_SYMLINK_NOFOLLOW) != 0) return false;
  const uint64_t bytes = BytesOfUse(file);
  const uint64_t limit = budget_->LimitOn(fd_.get());
  if (bytes == 0 || bytes > limit) return false;
  MutexLock lock(mutex_);
  if (renameat(directory_fd, name.c_str(), fd_.get(), object.ToHex().c_str()) != 0) return false;
  FAULT_POINT("replica.redo.kept");
  const auto known = by_object_.find(object);
  if (known != by_object_.end()) {  // the rename has replaced it
    budget_->used_ -= known->second->bytes;
    order_.erase(known->second);
    by_object_.erase(known);
  }
  order_.push_back({object, bytes, std::chrono::steady_clock::now()});
  by_object_[object] = std::prev(order_.end());
  budget_->used_ += bytes;
  MakeRoom(limit);
  return true;
}

UniqueFd KeptBases::Find(ObjectId object) {
  MutexLock lock(mutex_);
  if (!by_object_.contains(object)) return {};
  const auto path = OpenBeneath(fd_.get(), object.ToHex(), O_PATH);
  auto fd = path ? Reopen(path->get(), O_RDONLY) : Result<UniqueFd>(UniqueFd());
  return fd ? std::move(*fd) : UniqueFd();
}

UniqueFd KeptBases::Reaching(uint64_t end, ObjectId object, UniqueFd standing) {
  struct stat file = {};
  const bool reaches = standing.valid() && fstat(standing.get(), &file) == 0 &&
                       static_cast<uint64_t>(file.st_size) >= end;
  if (reaches) return standing;
  UniqueFd kept = Find(object);
  struct stat before = {};
  const bool has_more = kept.valid() && fstat(kept.get(), &before) == 0 &&
                        (!standing.valid() || before.st_size > file.st_size);
  return has_more ? std::move(kept) : std::move(standing);
}

void KeptBases::Drop(Order::iterator kept) {
  const std::string name = kept->object.ToHex();
  // Frees the blocks now: some filesystems see to removed files later, and one may be open.
  if (const auto path = OpenBeneath(fd_.get(), name, O_PATH)) {
    if (const auto file = Reopen(path->get(), O_WRONLY)) (void)ftruncate(file->get(), 0);
  }
  (void)unlinkat(fd_.get(), name.c_str(), 0);
  budget_->used_ -= kept->bytes;
  by_object_.erase(kept->object);
  order_.erase(kept);
}

void KeptBases::MakeRoom(uint64_t limit) {
  while (!order_.empty() && (budget_->used_ > limit || order_.size() > kMost)) {
    Drop(order_.begin());
  }
}

void KeptBases::DropOld() {
  const auto until = std::chrono::steady_clock::now() - kLongest;
  MutexLock lock(mutex_);
  while (!order_.empty() && order_.front().since < until) Drop(order_.begin());
}

void KeptBases::DropOwn() {
  MutexLock lock(mutex_);
  while (!order_.empty()) Drop(order_.begin());
}

}  // namespace tandem::replica
