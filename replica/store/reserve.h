// The part of a filesystem that no volume may use: `tandemd --reserve`. Plain values; any thread.
#pragma once

#include <cstdint>
#include <string>

#include "meta/base/result.h"
#include "replica/apply/room.h"

namespace tandem::replica {

struct Reserve {
  uint64_t bytes = 0;
  uint32_t percent = 0;  // of the filesystem; counts if it is more

  // Reads "5%", "20G" or a number of bytes; K, M, G and T are powers of 1024. Returns kUsage, with
  // the name of the option, if the text is something else.
  static Result<Reserve> Parse(const std::string& text, const char* option = "--reserve");
};

// Returns how many bytes of the filesystem that `fd` is on are reserved.
Result<uint64_t> BytesReserved(int fd, const Reserve& reserve);
// Returns FreeRoom without what is reserved.
Result<Room> FreeRoomBeside(int fd, const Reserve& reserve);

}  // namespace tandem::replica
