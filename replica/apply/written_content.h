// What a redo has written in large pieces, for the index of chunks (replica/known/KNOWN.md). One
// thread.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "meta/base/ids.h"
#include "replica/wire/messages.h"

namespace tandem::replica {

class WrittenContent {
 public:
  // Pieces from this size on are kept.
  static constexpr uint64_t kLeast = 64 << 10;

  // Notes a write. One that goes on where the last one ended is part of its piece.
  void Note(ObjectId object, uint64_t offset, uint64_t length) {
    if (!pieces_.empty()) {
      ContentPlace& last = pieces_.back();
      if (last.object == object && last.offset + last.length == offset) {
        last.length += length;
        return;
      }
      if (last.length < kLeast) pieces_.pop_back();
    }
    pieces_.push_back({object, offset, length});
  }
  std::vector<ContentPlace> Take() {
    if (!pieces_.empty() && pieces_.back().length < kLeast) pieces_.pop_back();
    return std::exchange(pieces_, {});
  }

 private:
  std::vector<ContentPlace> pieces_;
};

}  // namespace tandem::replica
