#include "replica/store/reserve.h"

#include <sys/statvfs.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <string_view>

namespace tandem::replica {

Result<Reserve> Reserve::Parse(const std::string& text, const char* option) {
  constexpr std::string_view kUnits = "KMGT";
  uint64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  const std::string_view unit(rest, static_cast<size_t>(end - rest));
  if (error == std::errc() && unit.empty()) return Reserve{number, 0};
  if (error == std::errc() && unit == "%" && number < 100) {
    return Reserve{0, static_cast<uint32_t>(number)};
  }
  if (error == std::errc() && unit.size() == 1 && kUnits.find(unit[0]) != kUnits.npos) {
    const size_t shift = 10 * (kUnits.find(unit[0]) + 1);
    if (number <= std::numeric_limits<uint64_t>::max() >> shift) return Reserve{number << shift, 0};
  }
  return MakeError(ErrorKind::kUsage,
                   std::string("use ") + option + " " + text +
                       " (expected is a size such as 20G, or a part of the "
                       "disk such as 5%)",
                   EINVAL);
}

Result<uint64_t> BytesReserved(int fd, const Reserve& reserve) {
  if (reserve.percent == 0) return reserve.bytes;
  struct statvfs disk;
  if (fstatvfs(fd, &disk) != 0) return ErrnoError("statvfs");
  const uint64_t total = uint64_t{disk.f_blocks} * disk.f_frsize;
  return std::max(reserve.bytes, total / 100 * reserve.percent);
}

Result<Room> FreeRoomBeside(int fd, const Reserve& reserve) {
  ASSIGN_OR_RETURN(Room room, FreeRoom(fd));
  ASSIGN_OR_RETURN(const uint64_t reserved, BytesReserved(fd, reserve));
  room.bytes -= std::min(room.bytes, reserved);
  return room;
}

}  // namespace tandem::replica
