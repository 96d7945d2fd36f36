// Reads one object of a frozen cut as it was at the instant of the cut. For the thread that reads
// the cut.
#pragma once

#include "meta/capture/frozen_cut.h"

namespace tandem::meta {

class CutObject final : public ObjectReader {
 public:
  // `cut` must outlive it.
  CutObject(FrozenCut& cut, ObjectId id, SourceObject live)
      : cut_(cut), id_(id), live_(std::move(live)) {}

  // Must be called once, before the other functions: they read content up to the size found here.
  Result<Attributes> ReadAttributes(WithXattrs with_xattrs) const override;
  // Each byte may be read only once, because operations no longer preserve what has been read.
  Result<size_t> Read(uint64_t offset, std::span<char> buffer) override;
  Result<Layout> ReadLayout(ByteRange range, size_t limit) override;

 private:
  FrozenCut& cut_;
  const ObjectId id_;
  SourceObject live_;
};

}  // namespace tandem::meta
