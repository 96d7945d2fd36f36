#include "replica/apply/room.h"

#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/quota.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <limits>
#include <unordered_map>
#include <unordered_set>

#include "meta/base/range_set.h"
#include "replica/apply/spare_objects.h"
#include "replica/apply/tuning.h"

namespace tandem::replica {
namespace {

constexpr uint64_t kBlock = 4096;
constexpr uint64_t kEndless = std::numeric_limits<uint64_t>::max();
// About what a name takes in a directory.
constexpr uint64_t kNameBytes = 64;
// A symbolic link's target shorter than this, or extended attributes of at most this size, are
// stored in the inode.
constexpr size_t kInInode = 60;

// The reserve is for processes with CAP_SYS_RESOURCE. The user id tells whether we have it.
bool MayUseReserve() { return geteuid() == 0; }

// Limits `room` to what this user's quotas leave. Does nothing if there are none or they cannot be
// queried.
void LimitByQuota(int fd, Room& room) {
#ifdef SYS_quotactl_fd
  if (MayUseReserve()) return;
  const auto limit = [](uint64_t hard, uint64_t used, uint64_t& left) {
    if (hard != 0) left = std::min(left, hard - std::min(hard, used));
  };
  for (const int kind : {USRQUOTA, GRPQUOTA}) {
    if_dqblk quota = {};
    const unsigned id = kind == USRQUOTA ? geteuid() : getegid();
    if (syscall(SYS_quotactl_fd, fd, QCMD(Q_GETQUOTA, kind), id, &quota) != 0) continue;
    limit(quota.dqb_bhardlimit * 1024, quota.dqb_curspace, room.bytes);
    limit(quota.dqb_ihardlimit, quota.dqb_curinodes, room.inodes);
  }
#else
  (void)fd;
  (void)room;
#endif
}

ByteRange InBlocks(ByteRange range) {
  const uint64_t start = range.start / kBlock * kBlock;
  return {start, (range.end + kBlock - 1) / kBlock * kBlock};
}

// Returns how many bytes of the range have blocks that the file does not share.
uint64_t AllocatedIn(int fd, ByteRange range) {
  constexpr uint32_t kExtents = 64;
  alignas(fiemap) std::array<char, sizeof(fiemap) + kExtents * sizeof(fiemap_extent)> buffer;
  uint64_t bytes = 0;
  while (!range.empty()) {
    auto* const map = new (buffer.data()) fiemap{};
    map->fm_start = range.start;
    map->fm_length = range.length();
    map->fm_extent_count = kExtents;
    if (ioctl(fd, FS_IOC_FIEMAP, map) != 0 || map->fm_mapped_extents == 0) return bytes;
    uint64_t last = range.start;
    for (uint32_t i = 0; i < map->fm_mapped_extents; ++i) {
      const fiemap_extent& extent = map->fm_extents[i];
      const uint64_t start = std::max<uint64_t>(range.start, extent.fe_logical);
      const uint64_t end = std::min<uint64_t>(range.end, extent.fe_logical + extent.fe_length);
      last = std::max(last, end);
      const bool own = (extent.fe_flags & (FIEMAP_EXTENT_SHARED | FIEMAP_EXTENT_ENCODED)) == 0;
      if (own && end > start) bytes += end - start;
      if ((extent.fe_flags & FIEMAP_EXTENT_LAST) != 0) return bytes;
    }
    if (last <= range.start) return bytes;
    range.start = last;
  }
  return bytes;
}

// Calls `take` with each record that a redo of the plan applies: (record, planned object, stage,
// position).
Status ForEachRecord(
    const Plan& plan, const std::vector<std::shared_ptr<Stage>>& stages,
    const std::function<void(const Record&, const Plan::Object&, const Stage&, uint64_t)>& take) {
  uint64_t position = 1;
  for (const auto& stage : stages) {
    for (uint64_t sequence = 0; sequence < stage->chunk_count(); ++sequence) {
      ASSIGN_OR_RETURN(const std::vector<Record> records, stage->Read(sequence));
      for (const Record& record : records) {
        const uint64_t at = position++;
        const auto* about = std::get_if<ObjectRecord>(&record);
        const auto* data = std::get_if<DataRecord>(&record);
        if (about == nullptr && data == nullptr) continue;
        const ObjectId object = about != nullptr ? about->object : data->object;
        const Plan::Object* planned = plan.Find(object);
        if (planned == nullptr || planned->fate == Plan::Fate::kDrop) continue;
        if (plan.Ignores(object, *planned, at)) continue;
        take(record, *planned, *stage, at);
      }
    }
  }
  return {};
}

bool IsMade(const Plan::Object& planned) {
  return !planned.in_file &&
         (planned.fate == Plan::Fate::kCreate || planned.fate == Plan::Fate::kReplace);
}

// Returns what rows take beyond what the catalog has claimed.
uint64_t RowsBytes(const Plan& plan, uint64_t objects) {
  const uint64_t bytes = objects * kRowBytes + plan.entries().size() * kRowBytes / 2;
  return bytes - std::min(bytes, kCatalogClaimed);
}

uint64_t NamesBytes(const Plan& plan) {
  const auto set = std::ranges::count_if(plan.entries(),
                                         [](const auto& entry) { return !entry.child.is_null(); });
  return static_cast<uint64_t>(set) * kNameBytes / kBlock * kBlock;
}

size_t XattrBytes(const meta::Attributes& attributes) {
  size_t bytes = 0;
  for (const auto& [name, value] : attributes.xattrs) bytes += name.size() + value.size() + 16;
  return bytes;
}

}  // namespace

Result<Room> FreeRoom(int fd) {
  struct statvfs found = {};
  if (fstatvfs(fd, &found) != 0) return ErrnoError("query free room");
  const bool reserve = MayUseReserve();
  Room room{(reserve ? found.f_bfree : found.f_bavail) * found.f_frsize,
            reserve ? found.f_ffree : found.f_favail};
  if (found.f_files == 0) room.inodes = kEndless;
  LimitByQuota(fd, room);
  return room;
}

Room MostNeeded(const Plan& plan, const std::vector<std::shared_ptr<Stage>>& stages) {
  const uint64_t objects = plan.objects().size();
  Room most{objects * 3 * kBlock + plan.entries().size() * (kNameBytes + kRowBytes), objects};
  for (const auto& stage : stages) most.bytes += stage->content().literal;
  return most;
}

bool IsSmallNewFile(const Plan::Object& planned, const meta::Attributes& attributes) {
  return IsMade(planned) && attributes.kind == meta::Kind::kFile &&
         attributes.size <= kSpareObjectBytes;
}

Result<Room> MeasureNeed(Plan& plan, const std::vector<std::shared_ptr<Stage>>& stages, Tree& tree,
                         uint64_t spare_objects) {
  Room need;
  std::unordered_set<ObjectId> small;
  std::unordered_map<ObjectId, RangeSet> written;
  uint64_t digests = 0;  // of content that takes no more room itself
  const auto take = [&](const Record& record, const Plan::Object& planned, const Stage& stage,
                        uint64_t position) {
    if (const auto* data = std::get_if<DataRecord>(&record)) {
      if (data->encoding == Encoding::kStaged) digests += 2 * data->bytes.size();
      if (data->encoding != Encoding::kLiteral || plan.ComesAsFile(data->object, planned, stage))
        return;
      const uint64_t limit = plan.SmallestSizeAfter(data->object, position);
      ByteRange stays = ByteRange::Of(data->offset, data->length);
      stays.end = std::min(stays.end, limit);
      if (!stays.empty()) written[data->object].Add(InBlocks(stays));
    } else if (const auto* about = std::get_if<ObjectRecord>(&record)) {
      const meta::Attributes& attributes = about->attributes;
      const bool is_long = attributes.link_target.size() >= kInInode;
      const bool made = IsMade(planned);
      // A spare object is taken when the object is first made, so that record counts.
      if (IsSmallNewFile(planned, attributes)) small.insert(about->object);
      if (made && (attributes.kind == meta::Kind::kDirectory || is_long)) need.bytes += kBlock;
      if (about->with_xattrs && made && XattrBytes(attributes) > kInInode) need.bytes += kBlock;
    }
  };
  RETURN_IF_ERROR(ForEachRecord(plan, stages, take));
  for (const auto& [object, planned] : plan.objects()) need.inodes += IsMade(planned) ? 1 : 0;
  for (const auto& [object, ranges] : written) {
    const Plan::Object& planned = *plan.Find(object);
    if (ranges.ToVector().back().end > kSpareObjectBytes) small.erase(object);
    need.bytes += ranges.TotalBytes();
    if (planned.fate != Plan::Fate::kKeep || planned.whole != 0) continue;
    ASSIGN_OR_RETURN(const UniqueFd path_fd, tree.OpenReadable(object));
    if (!path_fd.valid()) continue;
    auto fd = Reopen(path_fd.get(), O_RDONLY);
    if (!fd) continue;
    for (const ByteRange& range : ranges.ToVector()) {
      const uint64_t there = AllocatedIn(fd->get(), range);
      need.bytes -= std::min(need.bytes, there);
    }
  }
  // It is not known yet which files take a spare object. Assume those without content.
  const uint64_t spare = std::min<uint64_t>(spare_objects, small.size());
  const auto filled = static_cast<uint64_t>(std::ranges::count_if(
      small, [&written](ObjectId object) { return written.contains(object); }));
  const uint64_t empty = small.size() - filled;
  need.inodes -= spare;
  need.bytes -= (spare - std::min(spare, empty)) * kBlock;
  // The filesystem's own metadata.
  need.bytes += need.bytes / 64;
  need.bytes += NamesBytes(plan) + RowsBytes(plan, need.inodes) + digests;
  return need;
}

Result<Room> MeasureFreed(Plan& plan, const std::vector<std::shared_ptr<Stage>>& stages,
                          Tree& tree) {
  Room freed;
  struct stat now = {};
  for (const ObjectId object : plan.dead()) {
    ASSIGN_OR_RETURN(const UniqueFd fd, tree.OpenReadable(object));
    if (!fd.valid() || fstatat(fd.get(), "", &now, AT_EMPTY_PATH) != 0) continue;
    freed.bytes += static_cast<uint64_t>(now.st_blocks) * 512;
    ++freed.inodes;
  }
  ASSIGN_OR_RETURN(const auto sizes, FinalSizes(plan, stages));
  for (const auto& [object, size] : sizes) {
    ASSIGN_OR_RETURN(const UniqueFd fd, tree.OpenReadable(object));
    if (!fd.valid() || fstatat(fd.get(), "", &now, AT_EMPTY_PATH) != 0) continue;
    const auto was = static_cast<uint64_t>(now.st_size);
    if (was <= size) continue;
    freed.bytes += std::min(static_cast<uint64_t>(now.st_blocks) * 512, was - size);
  }
  return freed;
}

Result<std::vector<std::pair<ObjectId, uint64_t>>> FinalSizes(
    const Plan& plan, const std::vector<std::shared_ptr<Stage>>& stages) {
  std::unordered_map<ObjectId, uint64_t> sizes;
  const auto take = [&](const Record& record, const Plan::Object& planned, const Stage&, uint64_t) {
    const auto* about = std::get_if<ObjectRecord>(&record);
    if (about == nullptr || planned.fate != Plan::Fate::kKeep) return;
    if (planned.shortfall != Plan::Shortfall::kNone) return;  // it keeps its size
    if (about->attributes.kind != meta::Kind::kFile) return;
    // A whole record empties the file first. Otherwise the redo cuts the file to its smallest size.
    const uint64_t size = planned.whole != 0 ? 0 : about->attributes.size;
    const auto known = sizes.try_emplace(about->object, size).first;
    known->second = std::min(known->second, size);
  };
  RETURN_IF_ERROR(ForEachRecord(plan, stages, take));
  return std::vector<std::pair<ObjectId, uint64_t>>(sizes.begin(), sizes.end());
}

}  // namespace tandem::replica
