// One object of a frozen cut, as it was at that instant.
#pragma once

#include "meta/frozen_cut.h"

namespace tandem::meta {

class CutObject final : public ObjectReader {
 public:
  // `cut` must outlive it.
  CutObject(FrozenCut& cut, ObjectId id, SourceObject live)
      : cut_(cut), id_(id), live_(std::move(live)) {}

  // First of all, and once: content is read up to the size this finds.
  Result<Attributes> ReadAttributes(WithXattrs with_xattrs) const override;
  // Each byte once: what has been read is kept no longer.
  Result<size_t> Read(uint64_t offset, std::span<char> buffer) override;
  Result<Layout> ReadLayout(ByteRange range, size_t limit) override;

 private:
  FrozenCut& cut_;
  const ObjectId id_;
  SourceObject live_;
};

}  // namespace tandem::meta
