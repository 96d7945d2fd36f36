// What one hot mark covers: an object's attributes, a directory's entries, or a part of a file's
// content (DESIGN section 4, "Marks").
#pragma once

#include <cstdint>

#include "meta/base/range_set.h"

namespace tandem::meta {

// A hot row's `region` column: attributes, entries, or shift and index of a data region.
class HotRegion {
 public:
  static constexpr int kMinShift = 22;  // 4 MiB
  static constexpr int kMaxShift = 57;  // 64 such regions cover every file offset
  static constexpr int kPerFile = 64;

  static constexpr HotRegion Attributes() { return HotRegion(-1); }
  static constexpr HotRegion Entries() { return HotRegion(-2); }
  static constexpr HotRegion Data(int shift, int index) {
    return HotRegion(static_cast<int64_t>(shift) * kPerFile + index);
  }
  static constexpr HotRegion FromCode(int64_t code) { return HotRegion(code); }

  friend constexpr bool operator==(HotRegion, HotRegion) = default;

  constexpr int64_t code() const { return code_; }
  constexpr bool is_attributes() const { return code_ == -1; }
  constexpr bool is_entries() const { return code_ == -2; }
  // Requires a data region.
  constexpr int index() const { return static_cast<int>(code_ % kPerFile); }
  // Requires a data region. Returns the whole file if the code is invalid (a damaged row).
  ByteRange range() const;

 private:
  constexpr explicit HotRegion(int64_t code) : code_(code) {}
  int64_t code_;
};

}  // namespace tandem::meta
