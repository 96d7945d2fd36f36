#include "replica/apply/content_digests.h"

#include <algorithm>
#include <span>

#include "meta/base/read_at.h"
#include "replica/apply/file_data.h"
#include "replica/wire/little_endian.h"

namespace tandem::replica {
namespace {

constexpr uint64_t kBlock = BlockDigests::kBlock;

// Returns how many bytes the block has in a file of that size.
uint64_t LengthOf(uint64_t block, uint64_t size) {
  const uint64_t start = block * kBlock;
  return size <= start ? 0 : std::min(size - start, kBlock);
}

// Calls `take` with each part of the range that lies in one block: (block, offset in it, length).
template <typename Take>
Status ForEachPart(ByteRange range, const Take& take) {
  while (!range.empty()) {
    const uint64_t block = range.start / kBlock;
    const uint64_t offset = range.start % kBlock;
    const uint64_t length = std::min(range.end - range.start, kBlock - offset);
    RETURN_IF_ERROR(take(block, offset, length));
    range.start += length;
  }
  return {};
}

}  // namespace

// ---- One block ---------------------------------------------------------------------------------

Status ContentDigests::Load(ObjectId object, uint64_t block, uint64_t size, const Opener& open) {
  if (IsCurrent(object, block)) return {};
  RETURN_IF_ERROR(Flush());
  Current loaded{object, block, LengthOf(block, size)};
  std::span<char> content(buffer_.data(), loaded.length);
  size_t filled = 0;
  if (loaded.length > 0) {
    ASSIGN_OR_RETURN(const BlockDigests::Digest digest, table_.Find(object, block));
    loaded.known = digest != BlockDigests::kUnknown;
    if (loaded.known && digest != BlockDigests::kZeros) {
      ASSIGN_OR_RETURN(const int fd, open());
      ASSIGN_OR_RETURN(filled, ReadAt(fd, block * kBlock, content));
      loaded.known = filled == loaded.length &&
                     BlockDigests::Matches(digest, {content.data(), content.size()});
      if (!loaded.known) mismatched_[object].Add({block * kBlock, (block + 1) * kBlock});
    }
  }
  std::ranges::fill(content.subspan(filled), '\0');
  current_ = loaded;
  return {};
}

void ContentDigests::SetLength(uint64_t length) {
  if (length > current_.length) {
    std::fill(buffer_.begin() + static_cast<ptrdiff_t>(current_.length),
              buffer_.begin() + static_cast<ptrdiff_t>(length), '\0');
  }
  current_.length = length;
}

Status ContentDigests::Flush() {
  if (current_.object.is_null()) return {};
  const bool known = current_.known || current_.covered >= current_.length;
  const std::string_view content(buffer_.data(), current_.length);
  RETURN_IF_ERROR(Set(current_.object, current_.block, current_.block + 1,
                      known ? BlockDigests::Of(content) : BlockDigests::kUnknown));
  DropCurrent();
  return {};
}

Status ContentDigests::WritePart(ObjectId object, uint64_t block, uint64_t offset, uint64_t length,
                                 const char* bytes, const Opener& open) {
  ASSIGN_OR_RETURN(const uint64_t size, SizeOf(object));
  const uint64_t end = offset + length;
  const bool covers_all = offset == 0 && end >= LengthOf(block, size);
  if (covers_all && bytes != nullptr && end == kBlock) {
    if (IsCurrent(object, block)) DropCurrent();
    return Set(object, block, block + 1, BlockDigests::Of({bytes, length}));
  }
  if (covers_all) {
    RETURN_IF_ERROR(Flush());
    current_.object = object;
    current_.block = block;
  } else {
    RETURN_IF_ERROR(Load(object, block, size, open));
  }
  if (current_.length < end) SetLength(end);
  if (bytes == nullptr) {
    current_.known = false;
    current_.covered = std::min(current_.covered, offset);
  } else {
    std::copy_n(bytes, length, buffer_.begin() + static_cast<ptrdiff_t>(offset));
    if (offset <= current_.covered) current_.covered = std::max(current_.covered, end);
  }
  sizes_[object] = std::max(size, block * kBlock + end);
  return {};
}

Status ContentDigests::Set(ObjectId object, uint64_t first, uint64_t end,
                           BlockDigests::Digest digest) {
  const ByteRange range{first * kBlock, end * kBlock};
  if (const auto found = mismatched_.find(object);
      found != mismatched_.end() && digest != BlockDigests::kUnknown) {
    found->second.Remove(range);
  }
  if (notes_renewed_) {
    RangeSet& renewed = renewed_[object];
    digest == BlockDigests::kUnknown ? renewed.Remove(range) : renewed.Add(range);
  }
  if (end == first + 1) return table_.Set(object, first, digest);
  return table_.SetRange(object, first, end, digest);
}

Result<RangeSet> ContentDigests::TakeRenewed(ObjectId object) {
  if (current_.object == object) RETURN_IF_ERROR(Flush());
  const auto renewed = renewed_.extract(object);
  return renewed.empty() ? RangeSet() : renewed.mapped();
}

Result<RangeSet> ContentDigests::TakeMismatched(ObjectId object) {
  if (current_.object == object) RETURN_IF_ERROR(Flush());
  const auto mismatched = mismatched_.extract(object);
  return mismatched.empty() ? RangeSet() : mismatched.mapped();
}

// ---- What a redo tells -------------------------------------------------------------------------

Result<uint64_t> ContentDigests::SizeOf(ObjectId object) {
  const auto [size, is_new] = sizes_.try_emplace(object, 0);
  if (is_new) {
    auto row = catalog_.Find(object);
    if (!row) {
      sizes_.erase(size);
      return tl::unexpected<Error>(std::move(row.error()));
    }
    if (*row && (*row)->attributes.kind == meta::Kind::kFile) {
      size->second = (*row)->attributes.size;
    }
  }
  return size->second;
}

Status ContentDigests::Begin(ObjectId object, bool is_new) {
  if (current_.object == object) DropCurrent();
  renewed_.erase(object);
  mismatched_.erase(object);
  sizes_[object] = 0;
  return is_new ? Status() : table_.Clear(object);
}

Status ContentDigests::Write(ObjectId object, uint64_t offset, std::string_view bytes,
                             const Opener& open) {
  ASSIGN_OR_RETURN(const uint64_t size, SizeOf(object));
  if (offset > size) RETURN_IF_ERROR(Grow(object, offset, open));
  RETURN_IF_ERROR(ForEachPart(
      ByteRange::Of(offset, bytes.size()), [&](uint64_t block, uint64_t at, uint64_t length) {
        const size_t taken = block * kBlock + at - offset;
        return WritePart(object, block, at, length, bytes.data() + taken, open);
      }));
  sizes_[object] = std::max(size, offset + bytes.size());
  return {};
}

Status ContentDigests::PunchHole(ObjectId object, uint64_t offset, uint64_t length,
                                 const Opener& open) {
  ASSIGN_OR_RETURN(const uint64_t size, SizeOf(object));
  ByteRange hole = ByteRange::Of(offset, length);
  hole.end = std::min(hole.end, size);
  if (hole.empty()) return {};
  const std::string zeros(std::min(hole.length(), kBlock), '\0');
  const auto zero = [&](uint64_t block, uint64_t at, uint64_t part) {
    return WritePart(object, block, at, part, zeros.data(), open);
  };
  // Whole blocks; the last may end with the file.
  const uint64_t first = BlockDigests::CountIn(hole.start);
  const uint64_t end = hole.end == size ? BlockDigests::CountIn(size) : hole.end / kBlock;
  if (first >= end) return ForEachPart(hole, zero);
  RETURN_IF_ERROR(ForEachPart({hole.start, first * kBlock}, zero));
  RETURN_IF_ERROR(ForEachPart({std::min(end * kBlock, hole.end), hole.end}, zero));
  if (current_.object == object && current_.block >= first && current_.block < end) DropCurrent();
  return Set(object, first, end, BlockDigests::kZeros);
}

Status ContentDigests::Resize(ObjectId object, uint64_t size, const Opener& open) {
  ASSIGN_OR_RETURN(const uint64_t now, SizeOf(object));
  if (size > now) return Grow(object, size, open);
  return size < now ? Shrink(object, size, open) : Status();
}

// Loads a block whose length changes. Returns false, and loads nothing, if it is all zeros: then it
// stays so.
Result<bool> ContentDigests::LoadUnlessZeros(ObjectId object, uint64_t block, uint64_t size,
                                             const Opener& open) {
  if (!IsCurrent(object, block)) {
    ASSIGN_OR_RETURN(const BlockDigests::Digest digest, table_.Find(object, block));
    if (digest == BlockDigests::kZeros) return false;
  }
  RETURN_IF_ERROR(Load(object, block, size, open));
  return true;
}

// The file gets zeros at its end.
Status ContentDigests::Grow(ObjectId object, uint64_t size, const Opener& open) {
  ASSIGN_OR_RETURN(const uint64_t now, SizeOf(object));
  const uint64_t last = now / kBlock;
  if (now % kBlock != 0) {
    ASSIGN_OR_RETURN(const bool loaded, LoadUnlessZeros(object, last, now, open));
    if (loaded) {
      const bool all_covered = current_.covered >= current_.length;
      SetLength(LengthOf(last, size));
      if (all_covered) current_.covered = current_.length;
    }
  }
  sizes_[object] = size;
  return table_.SetRange(object, BlockDigests::CountIn(now), BlockDigests::CountIn(size),
                         BlockDigests::kZeros);
}

Status ContentDigests::Shrink(ObjectId object, uint64_t size, const Opener& open) {
  ASSIGN_OR_RETURN(const uint64_t now, SizeOf(object));
  const uint64_t last = size / kBlock;
  if (size % kBlock != 0) {
    ASSIGN_OR_RETURN(const bool loaded, LoadUnlessZeros(object, last, now, open));
    if (loaded) {
      SetLength(size % kBlock);
      current_.covered = std::min(current_.covered, current_.length);
    }
  }
  const uint64_t count = BlockDigests::CountIn(size);
  if (current_.object == object && current_.block >= count) DropCurrent();
  sizes_[object] = size;
  return table_.CutAt(object, count);
}

Status ContentDigests::Lose(ObjectId object) {
  if (current_.object == object) DropCurrent();
  sizes_.erase(object);
  renewed_.erase(object);
  mismatched_.erase(object);
  return table_.MakeUnknown(object);
}

Status ContentDigests::End(ObjectId object) {
  if (current_.object == object) RETURN_IF_ERROR(Flush());
  sizes_.erase(object);
  renewed_.erase(object);
  mismatched_.erase(object);
  return {};
}

// ---- Content in files of its own ---------------------------------------------------------------

std::string ContentDigests::StagedDigests(uint64_t offset, std::string_view bytes) {
  Packer digests;
  (void)ForEachPart(
      ByteRange::Of(offset, bytes.size()),
      [&](uint64_t block, uint64_t at, uint64_t length) -> Status {
        digests.Number(BlockDigests::Of(bytes.substr(block * kBlock + at - offset, length)));
        return {};
      });
  return digests.bytes();
}

Status ContentDigests::TakeStaged(const DataRecord& record, uint64_t length, int staged_fd,
                                  const Opener& open) {
  const ObjectId object = record.object;
  const ByteRange range = ByteRange::Of(record.offset, length);
  if (IsStagedHole(record)) {
    return PunchHole(object, range.start, range.length(), open);
  }
  ASSIGN_OR_RETURN(const uint64_t size, SizeOf(object));
  if (range.start > size) RETURN_IF_ERROR(Grow(object, range.start, open));
  Unpacker digests(record.bytes);
  const ByteRange all = ByteRange::Of(record.offset, record.length);
  return ForEachPart(all, [&](uint64_t block, uint64_t at, uint64_t part_length) -> Status {
    // Stages of an older version have no digests.
    const BlockDigests::Digest digest = digests.Number();
    const uint64_t start = block * kBlock + at;
    if (start >= range.end) return {};
    const uint64_t end = std::min(range.end, start + part_length);
    return TakeStagedPart(object, {start, start + part_length}, end,
                          digests.good() ? digest : BlockDigests::kUnknown, staged_fd, open);
  });
}

// `part` has the digest; of it, what lies below `end` is used.
Status ContentDigests::TakeStagedPart(ObjectId object, ByteRange part, uint64_t end,
                                      BlockDigests::Digest digest, int staged_fd,
                                      const Opener& open) {
  const uint64_t block = part.start / kBlock;
  const uint64_t at = part.start % kBlock;
  if (part.length() == kBlock && end == part.end) {
    if (IsCurrent(object, block)) DropCurrent();
    uint64_t& size = sizes_[object];
    size = std::max(size, end);
    return Set(object, block, block + 1, digest);
  }
  std::string bytes;
  if (digest != BlockDigests::kUnknown) {
    int fd = staged_fd;
    if (fd < 0) {
      ASSIGN_OR_RETURN(fd, open());
    }
    ASSIGN_OR_RETURN(bytes, ReadUpTo(fd, part.start, part.length()));
  }
  const bool known = bytes.size() == part.length() && BlockDigests::Matches(digest, bytes);
  return WritePart(object, block, at, end - part.start, known ? bytes.data() : nullptr, open);
}

}  // namespace tandem::replica
