// A few small files, made in advance, in stage/. If a redo finds no room, a small new object gets
// its inode and block from one of them. So more than removals can be applied on a full disk where
// other programs take whatever is freed. One thread.
#pragma once

#include <cstdint>
#include <string>

#include "meta/base/result.h"
#include "replica/apply/tuning.h"

namespace tandem::replica {

// Makes the missing ones, as long as there is room.
Status MakeSpareObjects(int stage_fd);
uint64_t CountSpareObjects(int stage_fd);
// Moves one to `name`. Returns false if none is left.
bool TakeSpareObject(int stage_fd, int directory_fd, const std::string& name);

}  // namespace tandem::replica
