#include "meta/frozen_cut.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>

namespace tandem::meta {
namespace {

// Descriptors one cut may keep of unlinked objects.
constexpr size_t kMaxKept = 4096;

std::shared_ptr<const Layer> Merge(const std::vector<std::shared_ptr<const Layer>>& layers) {
  if (layers.size() == 1) return layers.front();
  auto merged = std::make_shared<Layer>();
  for (const auto& layer : layers) merged->MergeNewer(*layer);
  return merged;
}

}  // namespace

const ObjectChange* Layer::Find(const ObjectId& object) const {
  const ChangeSet& shard = shards[ShardOf(object)];
  const auto found = shard.find(object);
  return found == shard.end() ? nullptr : &found->second;
}

bool Layer::empty() const {
  return std::all_of(shards.begin(), shards.end(),
                     [](const ChangeSet& shard) { return shard.empty(); });
}

size_t Layer::object_count() const {
  size_t count = 0;
  for (const ChangeSet& shard : shards) count += shard.size();
  return count;
}

void Layer::MergeNewer(const Layer& newer) {
  cut = newer.cut;
  if (first_change_ns == 0) first_change_ns = newer.first_change_ns;
  for (size_t i = 0; i < kShards; ++i) meta::MergeNewer(shards[i], newer.shards[i]);
}

FrozenCut::FrozenCut(CutRecord cut, const std::vector<std::shared_ptr<const Layer>>& layers,
                     const SourceTree& tree)
    : cut_(cut), changes_(Merge(layers)), tree_(tree) {}

Result<std::optional<SourceObject>> FrozenCut::Open(const ObjectRef& object) const {
  {
    MutexLock lock(mutex_);
    if (const auto kept = kept_.find(object.id); kept != kept_.end()) {
      UniqueFd fd(fcntl(kept->second.get(), F_DUPFD_CLOEXEC, 0));
      if (!fd.valid()) return ErrnoError("duplicate descriptor of unlinked object");
      return SourceObject(std::move(fd));
    }
  }
  ASSIGN_OR_RETURN(std::optional<UniqueFd> fd, tree_.OpenPath(object));
  if (!fd) return std::nullopt;
  struct stat stat_buffer;
  if (fstatat(fd->get(), "", &stat_buffer, AT_EMPTY_PATH) != 0) return ErrnoError("stat");
  // Without a name now and not kept: it had none at the cut either.
  if (stat_buffer.st_nlink == 0) return std::nullopt;
  return SourceObject(std::move(*fd));
}

void FrozenCut::Keep(const ObjectId& object, int path_fd) {
  if (changes_->Find(object) == nullptr) return;
  MutexLock lock(mutex_);
  if (kept_.contains(object)) return;
  UniqueFd fd(kept_.size() < kMaxKept ? fcntl(path_fd, F_DUPFD_CLOEXEC, 0) : -1);
  if (!fd.valid()) {
    given_up_ = true;
    return;
  }
  kept_.emplace(object, std::move(fd));
}

}  // namespace tandem::meta
