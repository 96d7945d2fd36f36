// How much to write to a file at once if small parts of it may be overwritten later.
//
// The kernel's cache of a file is made of pieces as large as what is written at once, and ext4
// (Linux 6.18, ext4_block_write_begin) goes through all blocks of a piece for each small overwrite
// in it: a piece of 1 MiB makes that three times slower.
#pragma once

#include <cstddef>

namespace tandem {

inline constexpr size_t kWritePiece = 64 << 10;

}  // namespace tandem
