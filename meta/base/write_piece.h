// The number of bytes to write to a file at once if small parts of it may be overwritten later.
//
// The kernel caches each write in a folio as large as the write. For each small overwrite ext4
// (Linux 6.18, ext4_block_write_begin) goes through all blocks of the folio, so folios of 1 MiB
// make small overwrites three times slower.
#pragma once

#include <cstddef>

namespace tandem {

inline constexpr size_t kWritePiece = 64 << 10;

}  // namespace tandem
