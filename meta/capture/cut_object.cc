#include "meta/capture/cut_object.h"

#include <algorithm>

#include "meta/base/read_at.h"

namespace tandem::meta {

Result<std::unique_ptr<ObjectReader>> FrozenCut::Open(const ObjectRef& object) {
  Shard& shard = ShardFor(object.id);
  std::optional<SourceObject> live;
  {
    MutexLock lock(shard.mutex);
    ASSIGN_OR_RETURN(live, OpenUnlinked(shard, object));
  }
  // Without the lock, because this may search the tree and operations wait for the lock inside the
  // gate.
  std::optional<Error> failed;
  if (!live) {
    auto named = OpenNamed(object, Effort::kSearch);
    if (named) {
      live = std::move(*named);
    } else {
      failed = std::move(named.error());
    }
  }
  // The object may have lost its last name since the first look; then it is in `unlinked` now.
  if (!live) {
    MutexLock lock(shard.mutex);
    ASSIGN_OR_RETURN(live, OpenUnlinked(shard, object));
  }
  if (!live && failed) return tl::unexpected<Error>(std::move(*failed));
  if (!live) return nullptr;
  return std::make_unique<CutObject>(*this, object.id, std::move(*live));
}

Result<Attributes> CutObject::ReadAttributes(WithXattrs with_xattrs) const {
  Result<Attributes> attributes = live_.ReadAttributes(with_xattrs);
  FrozenCut::Shard& shard = cut_.ShardFor(id_);
  MutexLock lock(shard.mutex);
  if (!cut_.is_preserving()) return attributes;
  FrozenCut::Preserved& preserved = shard.preserved[id_];
  if (preserved.attributes) {
    const bool lacks_xattrs = with_xattrs == WithXattrs::kYes && preserved.xattrs_unreadable;
    if (lacks_xattrs) return tl::unexpected<Error>(*preserved.xattrs_unreadable);
    return *preserved.attributes;
  }
  if (!attributes) return attributes;
  preserved.attributes_settled = true;
  preserved.size = attributes->size;
  return attributes;
}

Result<size_t> CutObject::Read(uint64_t offset, std::span<char> buffer) {
  ASSIGN_OR_RETURN(const size_t filled, live_.Read(offset, buffer));
  FrozenCut::Shard& shard = cut_.ShardFor(id_);
  MutexLock lock(shard.mutex);
  if (!cut_.is_preserving()) return filled;
  FrozenCut::Preserved& preserved = shard.preserved[id_];
  // If the file was truncated since the cut, the content it had is among the preserved pieces.
  std::fill(buffer.begin() + static_cast<ptrdiff_t>(filled), buffer.end(), '\0');
  const ByteRange range{offset, std::min(offset + buffer.size(), preserved.size)};
  if (range.empty()) return size_t{0};
  if (preserved.clone.valid()) {
    RETURN_IF_ERROR(
        ReadAt(preserved.clone.get(), offset, buffer.first(range.length()), "read clone"));
  }
  auto piece = preserved.pieces.upper_bound(range.start);
  if (piece != preserved.pieces.begin()) --piece;
  while (piece != preserved.pieces.end() && piece->first < range.end) {
    const uint64_t start = std::max(piece->first, range.start);
    const uint64_t end = std::min(piece->second.end, range.end);
    if (start < end) {
      const auto into = buffer.subspan(start - offset, end - start);
      if (piece->second.bytes) {
        RETURN_IF_ERROR(piece->second.bytes->Read(start - piece->first, into));
      } else {
        std::fill(into.begin(), into.end(), '\0');
      }
    }
    const bool read_wholly = piece->first >= range.start && piece->second.end <= range.end;
    piece = read_wholly ? preserved.pieces.erase(piece) : std::next(piece);
  }
  preserved.content_settled.Add(range);
  return static_cast<size_t>(range.length());
}

// The sender decides here what is a hole and does not read holes, so they become settled.
Result<Layout> CutObject::ReadLayout(ByteRange range, size_t limit) {
  ASSIGN_OR_RETURN(Layout layout, live_.ReadLayout(range, limit));
  FrozenCut::Shard& shard = cut_.ShardFor(id_);
  MutexLock lock(shard.mutex);
  if (!cut_.is_preserving()) return layout;
  FrozenCut::Preserved& preserved = shard.preserved[id_];
  const ByteRange seen{range.start, layout.end};
  RangeSet data;
  if (preserved.clone.valid()) {
    data.Add(seen);  // read all of the clone; zeros do as well as a hole
  } else {
    for (const ByteRange& part : layout.data) data.Add(part);
  }
  auto piece = preserved.pieces.upper_bound(seen.start);
  if (piece != preserved.pieces.begin()) --piece;
  for (; piece != preserved.pieces.end() && piece->first < seen.end; ++piece) {
    const ByteRange part{std::max(piece->first, seen.start), std::min(piece->second.end, seen.end)};
    if (part.empty()) continue;
    if (piece->second.bytes) {
      data.Add(part);
    } else {
      data.Remove(part);
    }
  }
  layout.data = data.ToVector();
  uint64_t at = seen.start;
  for (const ByteRange& part : layout.data) {
    if (at < part.start) preserved.content_settled.Add({at, part.start});
    at = part.end;
  }
  if (at < seen.end) preserved.content_settled.Add({at, seen.end});
  return layout;
}

}  // namespace tandem::meta
