// The interface for reading one object's attributes and content for shipping, as they are now
// (SourceObject) or as they were at a cut (CutObject).
//
// A reader belongs to one thread at a time.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "meta/base/range_set.h"
#include "meta/base/result.h"
#include "meta/source/attributes.h"

namespace tandem::meta {

// The data and the holes of a range. Everything up to `end` that is not in `data` is a hole.
struct Layout {
  std::vector<ByteRange> data;  // in order
  uint64_t end = 0;
};

class ObjectReader {
 public:
  virtual ~ObjectReader() = default;

  virtual Result<Attributes> ReadAttributes(WithXattrs with_xattrs) const = 0;
  // Reads up to buffer.size() bytes at `offset`. Returns fewer only at the end of the file.
  virtual Result<size_t> Read(uint64_t offset, std::span<char> buffer) = 0;
  // Returns the layout of `range` from its start, ending after about `limit` parts with data.
  virtual Result<Layout> ReadLayout(ByteRange range, size_t limit) = 0;
};

}  // namespace tandem::meta
