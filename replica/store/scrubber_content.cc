// How a scrub compares content with the digests of its blocks.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "meta/source/source_tree.h"
#include "replica/apply/file_data.h"
#include "replica/store/inspect.h"
#include "replica/store/scrubber.h"
#include "replica/store/tuning.h"

namespace tandem::replica {
namespace {

constexpr uint64_t kBlock = BlockDigests::kBlock;
constexpr uint64_t kRunBytes = kBlock * BlockDigests::kRunBlocks;

ByteRange RangeOf(uint64_t block, uint64_t size) {
  return {block * kBlock, std::min((block + 1) * kBlock, size)};
}

// Reads from the disk what is not waiting to be written there. Does not leave in the cache what
// nobody else has use for.
Result<std::string> ReadDropping(int fd, ByteRange range) {
  const auto drop = [&] {
    (void)posix_fadvise(fd, static_cast<off_t>(range.start), static_cast<off_t>(range.length()),
                        POSIX_FADV_DONTNEED);
  };
  drop();
  auto bytes = ReadUpTo(fd, range.start, range.length());
  drop();
  return bytes;
}

// Returns the offset of the first data from `offset` on; `size` if there is none.
uint64_t NextData(int fd, uint64_t offset, uint64_t size) {
  const off_t data = lseek(fd, static_cast<off_t>(offset), SEEK_DATA);
  if (data >= 0) return std::min(static_cast<uint64_t>(data), size);
  return errno == ENXIO ? size : offset;
}

}  // namespace

void Scrubber::Pace(uint64_t bytes) {
  {
    MutexLock lock(mutex_);
    report_.bytes += bytes;
  }
  if (options_.bytes_per_second == 0) return;
  const auto now = CondVar::Clock::now();
  const std::chrono::duration<double> cost(static_cast<double>(bytes) /
                                           static_cast<double>(options_.bytes_per_second));
  paced_ = std::max(paced_, now) + std::chrono::duration_cast<CondVar::Clock::duration>(cost);
  while (!stopping_ && !queue_.stopping() && CondVar::Clock::now() < paced_) {
    queue_.Sleep(std::min<CondVar::Clock::duration>(paced_ - CondVar::Clock::now(), kScrubPause));
  }
}

Status Scrubber::ScrubContent(File file) {
  UniqueFd fd;
  RETURN_IF_ERROR(InSlice([&](Slice& slice) -> Status {
    auto opened = OpenFile(slice.tree, file.object);
    if (!opened) return PassOver(file.object, file.path, std::move(opened.error()));
    fd = std::move(*opened);
    return {};
  }));
  if (!fd.valid()) return {};  // it has been removed since, or cannot be read
  (void)posix_fadvise(fd.get(), 0, 0, POSIX_FADV_SEQUENTIAL);
  for (uint64_t offset = 0; offset < file.size;) {
    ASSIGN_OR_RETURN(const auto next, ScrubRun(file, fd, offset));
    if (!next) break;
    offset = *next;
  }
  return ReportContent(file);
}

Result<std::optional<uint64_t>> Scrubber::ScrubRun(File& file, const UniqueFd& fd,
                                                   uint64_t offset) {
  const uint64_t run = offset / kRunBytes;
  std::vector<BlockDigests::Digest> digests;
  bool rest_unknown = false;
  std::optional<uint64_t> next_run;
  bool is_same = true;
  RETURN_IF_ERROR(InSlice([&](Slice& slice) -> Status {
    ASSIGN_OR_RETURN(const auto row, slice.catalog.Find(file.object));
    is_same = row && row->inode == file.inode && row->attributes.kind == meta::Kind::kFile;
    if (!is_same) return {};
    file.size = row->attributes.size;
    ASSIGN_OR_RETURN(rest_unknown, slice.catalog.digests().IsRestUnknown(file.object));
    ASSIGN_OR_RETURN(next_run, slice.catalog.digests().NextRun(file.object, run));
    if (next_run != run) return {};
    const uint64_t first = offset / kBlock;
    const uint64_t end =
        std::min((run + 1) * BlockDigests::kRunBlocks, BlockDigests::CountIn(file.size));
    for (uint64_t block = first; block < end; ++block) {
      ASSIGN_OR_RETURN(digests.emplace_back(), slice.catalog.digests().Find(file.object, block));
    }
    return {};
  }));
  if (!is_same || offset >= file.size) return std::nullopt;
  if (next_run != run) {
    // No row up to the next one: all of it is unknown, or a hole.
    const uint64_t end = next_run ? std::min(*next_run * kRunBytes, file.size) : file.size;
    if (rest_unknown) {
      file.unknown.Add({offset, end});
      MutexLock lock(mutex_);
      report_.bytes += end - offset;
      return end;
    }
    const uint64_t data = NextData(fd.get(), offset, end);
    if (data >= offset + kBlock || data == end) {
      MutexLock lock(mutex_);
      report_.bytes += data - offset;
      return data == end ? end : data / kBlock * kBlock;
    }
    const uint64_t count =
        BlockDigests::CountIn(std::min(end, (run + 1) * kRunBytes)) - offset / kBlock;
    digests.assign(count, BlockDigests::kZeros);
  }
  for (uint64_t block = offset / kBlock; const BlockDigests::Digest digest : digests) {
    if (stopping_ || queue_.stopping()) {
      return MakeError(ErrorKind::kCancelled, "scrub (stopping)", ECANCELED);
    }
    const ByteRange range = RangeOf(block, file.size);
    if (digest == BlockDigests::kUnknown) {
      file.unknown.Add(range);
    } else {
      const auto bytes = ReadDropping(fd.get(), range);
      if (!bytes && !meta::IsUnreadable(bytes.error())) return tl::unexpected<Error>(bytes.error());
      if (!bytes || bytes->size() != range.length() || !BlockDigests::Matches(digest, *bytes)) {
        RETURN_IF_ERROR(Rejudge(file, block));
      }
    }
    Pace(range.length());
    ++block;
  }
  return RangeOf(offset / kBlock + digests.size() - 1, file.size).end;
}

Status Scrubber::Rejudge(File& file, uint64_t block) {
  return InSlice([&](Slice& slice) -> Status {
    ASSIGN_OR_RETURN(const auto row, slice.catalog.Find(file.object));
    if (!row || row->inode != file.inode) return {};
    const ByteRange range = RangeOf(block, row->attributes.size);
    if (range.empty()) return {};
    ASSIGN_OR_RETURN(const auto digest, slice.catalog.digests().Find(file.object, block));
    auto opened = OpenFile(slice.tree, file.object);
    if (!opened) return PassOver(file.object, file.path, std::move(opened.error()));
    const UniqueFd& fd = *opened;
    if (!fd.valid()) return {};
    if (digest == BlockDigests::kUnknown) {
      file.unknown.Add(range);
      return {};
    }
    const auto bytes = ReadDropping(fd.get(), range);
    if (!bytes && !meta::IsUnreadable(bytes.error())) return tl::unexpected<Error>(bytes.error());
    const bool matches =
        bytes && bytes->size() == range.length() && BlockDigests::Matches(digest, *bytes);
    if (!matches) file.damaged.Add({block * kBlock, (block + 1) * kBlock});
    return {};
  });
}

// What an earlier scrub found, and is unknown now, is not right again.
Status Scrubber::KeepAskingFor(const File& file) {
  return InSlice([&](Slice& slice) -> Status {
    ASSIGN_OR_RETURN(const auto row, slice.catalog.damaged().Find(file.object));
    if (!row) return {};
    const auto ranges = row->ranges.ToVector();
    const bool is_unknown = row->whole || std::ranges::any_of(ranges, [&](const ByteRange& range) {
                              return file.unknown.Intersects(range);
                            });
    if (is_unknown) found_.insert(file.object);
    return {};
  });
}

Status Scrubber::ReportContent(const File& file) {
  const uint64_t unknown = file.unknown.TotalBytes(file.size);
  if (unknown > 0) {
    MutexLock lock(mutex_);
    report_.unknown_bytes += unknown;
    ++report_.unknown_files;
  }
  if (unknown > 0 && options_.resend_unknown) {
    RangeSet blocks;
    for (const ByteRange& range : file.unknown.ToVector()) {
      blocks.Add({range.start / kBlock * kBlock, (range.end + kBlock - 1) / kBlock * kBlock});
    }
    NoteDamage({file.object, false, blocks,
                std::to_string(unknown) + " bytes have no digest to compare with"});
  }
  if (unknown > 0) RETURN_IF_ERROR(KeepAskingFor(file));
  if (file.damaged.empty()) return {};
  const std::string what = std::to_string(file.damaged.TotalBytes() / kBlock) + " of " +
                           std::to_string(BlockDigests::CountIn(file.size)) +
                           " blocks of 128 KiB differ from what was applied (the first at byte " +
                           std::to_string(file.damaged.ToVector().front().start) + ")";
  NoteDamage({file.object, false, file.damaged, what});
  Report({"content", file.path, what});
  return {};
}

}  // namespace tandem::replica
