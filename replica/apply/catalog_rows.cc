#include "replica/apply/catalog_rows.h"

#include <cstdint>

#include "meta/base/ids.h"
#include "meta/source/attributes.h"

namespace tandem::replica {
namespace {

bool IsBetween(int64_t lowest, int64_t value, int64_t highest) {
  return lowest <= value && value <= highest;
}

bool IsUint32At(const Statement& row, int column) {
  return IsBetween(0, row.Int(column), UINT32_MAX);
}

bool AreNanosecondsAt(const Statement& row, int column) {
  return IsBetween(0, row.Int(column), 999'999'999);
}

}  // namespace

bool IsObject(const Statement& row) {
  for (const int column : {3, 4, 7}) {  // uid, gid, link_count
    if (!IsUint32At(row, column)) return false;
  }
  for (const int column : {9, 11, 13}) {
    if (!AreNanosecondsAt(row, column)) return false;
  }
  const bool are_permissions = IsBetween(0, row.Int(2), 07777);
  const bool is_size = row.Int(5) >= 0;
  return IsKindAt(row, 0) && IsIdAt(row, 1) && are_permissions && is_size;
}

bool IsKindAt(const Statement& row, int column) {
  return IsBetween(static_cast<int>(meta::Kind::kFile), row.Int(column),
                   static_cast<int>(meta::Kind::kBlockDevice));
}

bool IsIdAt(const Statement& row, int column) {
  return row.Bytes(column).size() == ObjectId::kSize;
}

bool IsName(std::string_view name) {
  return !name.empty() && name != "." && name != ".." &&
         name.find_first_of(std::string_view("/\0", 2)) == std::string_view::npos;
}

}  // namespace tandem::replica
