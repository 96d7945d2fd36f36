// Operations that change sizes, holes and allocation.
#include <fcntl.h>
#include <linux/falloc.h>
#include <unistd.h>

#include <algorithm>

#include "tests/programs/lib/workload_file.h"
#include "tests/programs/lib/workload_ops.h"
#include "tests/programs/lib/workload_pick.h"

namespace tandem::workload {
namespace {

// By descriptor or by name.
void SetSize(Actor& actor, const Path& path, off_t size) {
  actor.Note(size);
  if (actor.random().OneIn(3)) {
    actor.Try("truncate", truncate(path.bytes.c_str(), size));
    return;
  }
  WithFile(actor, path, O_WRONLY, [&](int fd) {
    actor.Try("ftruncate", ftruncate(fd, size));
    MaybeSync(actor, fd);
  });
}

off_t SizeOf(Actor& actor, const Path& path) {
  const auto found = Look(actor, path);
  return found && S_ISREG(found->st_mode) ? found->st_size : 0;
}

void TruncateDown(Actor& actor) {
  const Path path = PickFile(actor);
  actor.Note(path);
  const auto size = static_cast<uint64_t>(SizeOf(actor, path));
  const bool empty = actor.random().OneIn(4);
  SetSize(actor, path, empty ? 0 : off_t(actor.random().Between(0, size)));
}

void TruncateUp(Actor& actor) {
  const Path path = PickFile(actor);
  actor.Note(path);
  const uint64_t size = SizeOf(actor, path);
  const uint64_t more = actor.random().Magnitude(actor.config().max_file_bytes);
  SetSize(actor, path, off_t(std::min(size + more, actor.config().max_file_bytes)));
}

constexpr int kPunch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
constexpr int kZeroKeepingSize = FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;

// Collapsing and inserting work on whole blocks only; the others on any range.
template <int kMode>
void Fallocate(Actor& actor) {
  constexpr bool kWholeBlocks = kMode & (FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE);
  const Path path = PickFile(actor);
  actor.Note(path);
  WithFile(actor, path, O_RDWR, [&](int fd) {
    const bool aligned = kWholeBlocks ? !actor.random().OneIn(16) : actor.random().OneIn(2);
    const Extent extent = aligned ? AlignedExtent(actor, fd) : RandomExtent(actor, fd);
    actor.Note(extent.Text());
    if (kMode == FALLOC_FL_INSERT_RANGE && !MakeRoom(actor, fd, extent.length)) {
      return;
    }
    actor.Try("fallocate", fallocate(fd, kMode, extent.offset, static_cast<off_t>(extent.length)));
    MaybeSync(actor, fd);
  });
}

constexpr Op kSpaceOps[] = {
    {"truncate_down", 20, TruncateDown},
    {"truncate_up", 12, TruncateUp},
    {"allocate", 8, Fallocate<0>},
    {"allocate_keep_size", 8, Fallocate<FALLOC_FL_KEEP_SIZE>},
    {"punch_hole", 12, Fallocate<kPunch>},
    {"zero_range", 8, Fallocate<FALLOC_FL_ZERO_RANGE>},
    {"zero_range_keep_size", 4, Fallocate<kZeroKeepingSize>},
    {"collapse_range", 8, Fallocate<FALLOC_FL_COLLAPSE_RANGE>},
    {"insert_range", 8, Fallocate<FALLOC_FL_INSERT_RANGE>},
};

}  // namespace

std::span<const Op> SpaceOps() { return kSpaceOps; }

}  // namespace tandem::workload
