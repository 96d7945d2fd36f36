// The operations' side of a frozen cut. The reader's side is in cut_object.cc.
#include "meta/capture/frozen_cut.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <algorithm>

#include "meta/base/log.h"
#include "meta/capture/tuning.h"

namespace tandem::meta {
FrozenCut::FrozenCut(CutRecord cut, std::vector<std::shared_ptr<const Layer>> layers,
                     const SourceTree& tree, Spill& spill)
    : cut_(cut), layers_(std::move(layers)), tree_(tree), spill_(spill) {}

const Layer& FrozenCut::changes() {
  if (changes_ != nullptr) return *changes_;
  if (layers_.size() == 1) {
    changes_ = layers_.front();
  } else {
    auto merged = std::make_shared<Layer>();
    for (const auto& layer : layers_) merged->MergeNewer(*layer);
    changes_ = std::move(merged);
  }
  return *changes_;
}

bool FrozenCut::HasChangesOf(const ObjectId& object) const {
  return std::any_of(layers_.begin(), layers_.end(),
                     [&object](const auto& layer) { return layer->Find(object) != nullptr; });
}

FrozenCut::ChangedParts FrozenCut::ChangedPartsOf(const ObjectId& object, ByteRange range) const {
  ChangedParts changed;
  for (const auto& layer : layers_) {
    const ObjectChange* change = layer->Find(object);
    if (change == nullptr) continue;
    changed.xattrs |=
        change->whole || change->rewritten || (change->attributes & kXattrAttributes) != 0;
    for (const RangeSet* set : {&change->data, &change->suspect}) {
      for (const ByteRange& part : set->Within(range)) changed.data.Add(part);
    }
  }
  return changed;
}

void FrozenCut::PreserveUnlinked(const ObjectId& object, int path_fd) {
  if (!is_preserving() || !HasChangesOf(object)) return;
  Shard& shard = ShardFor(object);
  {
    MutexLock lock(shard.mutex);
    if (!is_preserving() || shard.unlinked.contains(object)) return;
    UniqueFd fd(unlinked_count_ < kMaxUnlinkedPreserved ? fcntl(path_fd, F_DUPFD_CLOEXEC, 0) : -1);
    if (fd.valid()) {
      ++unlinked_count_;
      shard.unlinked.emplace(object, std::move(fd));
      return;
    }
  }
  GiveUp();
}

FrozenCut::Outcome FrozenCut::Preserve(const Intent::Item& item) {
  if (!is_preserving() || !HasChangesOf(item.object->id)) return Outcome::kDone;
  Shard& shard = ShardFor(item.object->id);
  MutexLock lock(shard.mutex);
  return is_preserving() ? PreserveLocked(shard, item) : Outcome::kDone;
}

FrozenCut::Outcome FrozenCut::PreserveLocked(Shard& shard, const Intent::Item& item) {
  Preserved& preserved = shard.preserved[item.object->id];
  const bool is_data = item.touch == Intent::Touch::kData;
  if (preserved.settled || (!is_data && preserved.attributes_settled)) return Outcome::kDone;

  const ChangedParts changed = ChangedPartsOf(item.object->id, is_data ? item.range : ByteRange());
  std::optional<SourceObject> live;
  // Called only in this function, with shard.mutex held.
  const auto open_live = [&]() NO_THREAD_SAFETY_ANALYSIS -> bool {
    if (live) return true;
    auto opened = OpenLive(shard, *item.object);
    if (!opened) {
      LogWarning("preserve an object for cut {}: {}", cut_.name.epoch.number(),
                 opened.error().ToString());
      return false;
    }
    live = std::move(*opened);
    return true;
  };
  if (!preserved.attributes_settled) {
    if (!open_live()) return Outcome::kTooMuch;
    if (!live) {  // it had no name at the cut
      preserved.settled = true;
      return Outcome::kDone;
    }
    if (const Outcome outcome = PreserveAttributes(*live, changed.xattrs, preserved);
        outcome != Outcome::kDone) {
      return outcome;
    }
  }
  if (!is_data || preserved.clone.valid()) return Outcome::kDone;

  RangeSet needed;
  for (const ByteRange& range : changed.data.Within({0, preserved.size})) needed.Add(range);
  for (const ByteRange& range : preserved.content_settled.Within(item.range)) needed.Remove(range);
  if (needed.empty()) return Outcome::kDone;
  if (!open_live()) return Outcome::kTooMuch;
  if (!live) return Outcome::kTooMuch;
  return PreserveContent(*live, needed.ToVector(), preserved);
}

Result<std::optional<SourceObject>> FrozenCut::OpenUnlinked(Shard& shard, const ObjectRef& object) {
  const auto unlinked = shard.unlinked.find(object.id);
  if (unlinked == shard.unlinked.end()) return std::nullopt;
  UniqueFd fd(fcntl(unlinked->second.get(), F_DUPFD_CLOEXEC, 0));
  if (!fd.valid()) return ErrnoError("duplicate descriptor of unlinked object");
  return SourceObject(std::move(fd));
}

Result<std::optional<SourceObject>> FrozenCut::OpenLive(Shard& shard, const ObjectRef& object) {
  ASSIGN_OR_RETURN(std::optional<SourceObject> unlinked, OpenUnlinked(shard, object));
  if (unlinked) return unlinked;
  return OpenNamed(object, Effort::kAtOnce);
}

Result<std::optional<SourceObject>> FrozenCut::OpenNamed(const ObjectRef& object,
                                                         Effort effort) const {
  ASSIGN_OR_RETURN(std::optional<UniqueFd> fd, tree_.OpenPath(object, effort));
  if (!fd) return std::nullopt;
  struct stat stat_buffer;
  if (fstatat(fd->get(), "", &stat_buffer, AT_EMPTY_PATH) != 0) return ErrnoError("stat");
  if (stat_buffer.st_nlink == 0) return std::nullopt;
  return SourceObject(std::move(*fd));
}

FrozenCut::Outcome FrozenCut::PreserveAttributes(const SourceObject& live, bool with_xattrs,
                                                 Preserved& preserved) {
  auto attributes = live.ReadAttributes(with_xattrs ? WithXattrs::kYes : WithXattrs::kNo);
  if (!attributes && with_xattrs && IsUnreadable(attributes.error())) {
    preserved.xattrs_unreadable = std::move(attributes.error());
    attributes = live.ReadAttributes(WithXattrs::kNo);
  }
  if (!attributes) return Outcome::kTooMuch;
  uint64_t bytes = sizeof(Attributes) + attributes->link_target.size();
  for (const auto& [name, value] : attributes->xattrs) bytes += name.size() + value.size();
  auto room = spill_.ChargeMemory(bytes);
  if (!room) return Outcome::kNoRoom;
  preserved.attributes_charge = std::move(*room);
  preserved.size = attributes->size;
  preserved.attributes = std::move(*attributes);
  preserved.attributes_settled = true;
  return Outcome::kDone;
}

FrozenCut::Outcome FrozenCut::PreserveContent(SourceObject& live,
                                              const std::vector<ByteRange>& ranges,
                                              Preserved& preserved) {
  uint64_t left = kMaxPreservedPerOperation;
  for (const ByteRange& range : ranges) {
    const Outcome outcome = PreserveRange(live, range, left, preserved);
    if (outcome == Outcome::kTooMuch && Clone(live, preserved)) return Outcome::kDone;
    if (outcome != Outcome::kDone) return outcome;
  }
  return Outcome::kDone;
}

FrozenCut::Outcome FrozenCut::PreserveRange(SourceObject& live, ByteRange range, uint64_t& left,
                                            Preserved& preserved) {
  const auto preserve = [&preserved](ByteRange part, std::optional<Spill::Value> bytes) {
    if (part.empty()) return;
    preserved.pieces[part.start] = {part.end, std::move(bytes)};
    preserved.content_settled.Add(part);
  };
  while (!range.empty()) {
    const auto layout = live.ReadLayout(range, kExtentsAtATime);
    if (!layout) return Outcome::kTooMuch;
    uint64_t at = range.start;
    for (const ByteRange& data : layout->data) {
      if (data.length() > left) return Outcome::kTooMuch;
      left -= data.length();
      preserve({at, data.start}, std::nullopt);
      for (at = data.start; at < data.end;) {
        const ByteRange part{at, std::min(data.end, at + kPreservedPiece)};
        std::string bytes(part.length(), '\0');
        if (!live.Read(part.start, bytes)) return Outcome::kTooMuch;
        auto room = spill_.Store(std::move(bytes));
        if (!room) return Outcome::kNoRoom;
        preserve(part, std::move(room));
        at = part.end;
      }
    }
    preserve({at, layout->end}, std::nullopt);
    range.start = layout->end;
  }
  return Outcome::kDone;
}

// Shares the file's blocks instead of copying them (btrfs, xfs). The clone has no name. Returns
// false if the filesystem cannot do that.
bool FrozenCut::Clone(SourceObject& live, Preserved& preserved) {
  const auto content = live.ContentFd();
  if (!content) return false;
  UniqueFd clone(openat(tree_.root_fd(), ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (!clone.valid() || ioctl(clone.get(), FICLONE, *content) != 0) return false;
  preserved.clone = std::move(clone);
  return true;
}

bool FrozenCut::Finish() {
  State expected = State::kPreserving;
  const bool whole = state_.compare_exchange_strong(expected, State::kFinished);
  DropPreserved(/*and_unlinked=*/true);
  return whole;
}

void FrozenCut::GiveUp() {
  State expected = State::kPreserving;
  if (state_.compare_exchange_strong(expected, State::kGivenUp)) {
    DropPreserved(/*and_unlinked=*/false);  // the sender may still be reading them
  }
}

void FrozenCut::DropPreserved(bool and_unlinked) {
  for (Shard& shard : shards_) {
    std::unordered_map<ObjectId, Preserved> preserved;
    std::unordered_map<ObjectId, UniqueFd> unlinked;
    MutexLock lock(shard.mutex);
    preserved.swap(shard.preserved);
    if (and_unlinked) unlinked.swap(shard.unlinked);
  }
}

}  // namespace tandem::meta
