// A few small files, ready made, in stage/: what is new and small gets its inode and its block from
// there where a redo finds no room, so that on a full disk where others take whatever is freed not
// only removals are applied. One thread.
#pragma once

#include <cstdint>
#include <string>

#include "meta/base/result.h"

namespace tandem::replica {

// As large as each of them is. They hold zeros.
inline constexpr uint64_t kSpareObjectBytes = 4096;

// Makes those that are not there, as long as there is room.
Status MakeSpareObjects(int stage_fd);
uint64_t CountSpareObjects(int stage_fd);
// Moves one to `name`. False: there is none left.
bool TakeSpareObject(int stage_fd, int directory_fd, const std::string& name);

}  // namespace tandem::replica
