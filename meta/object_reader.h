// How one object's attributes and content are read for shipping: as they are now (SourceObject), or
// as they were at a cut (CutObject).
//
// An object belongs to one thread at a time.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "meta/attributes.h"
#include "meta/base/range_set.h"
#include "meta/base/result.h"

namespace tandem::meta {

// Where data is and where holes are: everything between `data`, up to `end`, is a hole.
struct Layout {
  std::vector<ByteRange> data;  // in order
  uint64_t end = 0;
};

class ObjectReader {
 public:
  virtual ~ObjectReader() = default;

  virtual Result<Attributes> ReadAttributes(WithXattrs with_xattrs) const = 0;
  // Up to buffer.size() bytes at `offset`; fewer only at the end of the file.
  virtual Result<size_t> Read(uint64_t offset, std::span<char> buffer) = 0;
  // Of `range` from its start on, as far as about `limit` parts with data reach.
  virtual Result<Layout> ReadLayout(ByteRange range, size_t limit) = 0;
};

}  // namespace tandem::meta
