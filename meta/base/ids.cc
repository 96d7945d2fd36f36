#include "meta/base/ids.h"

#include <endian.h>
#include <sys/random.h>

namespace tandem {
namespace {

std::optional<int> HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return std::nullopt;
}

}  // namespace

template <typename Tag>
Id128<Tag> Id128<Tag>::Random() {
  uint64_t words[2] = {0, 0};
  while (words[0] == 0 && words[1] == 0) {
    // Requests of up to 256 bytes are never cut short once the pool is up (getrandom(2)).
    if (getrandom(words, sizeof words, 0) != sizeof words) continue;
  }
  return Id128(words[0], words[1]);
}

template <typename Tag>
std::optional<Id128<Tag>> Id128<Tag>::FromHex(std::string_view hex) {
  if (hex.size() != 2 * kSize) return std::nullopt;
  uint64_t words[2] = {0, 0};
  for (size_t i = 0; i < hex.size(); ++i) {
    const auto digit = HexDigit(hex[i]);
    if (!digit) return std::nullopt;
    words[i / 16] = words[i / 16] << 4 | static_cast<uint64_t>(*digit);
  }
  return Id128(words[0], words[1]);
}

template <typename Tag>
std::optional<Id128<Tag>> Id128<Tag>::FromBytes(std::string_view bytes) {
  if (bytes.size() != kSize) return std::nullopt;
  uint64_t words[2];
  std::memcpy(words, bytes.data(), kSize);
  return Id128(be64toh(words[0]), be64toh(words[1]));
}

template <typename Tag>
std::array<char, Id128<Tag>::kSize> Id128<Tag>::ToBytes() const {
  const uint64_t words[2] = {htobe64(high_), htobe64(low_)};
  std::array<char, kSize> bytes;
  std::memcpy(bytes.data(), words, kSize);
  return bytes;
}

template <typename Tag>
std::string Id128<Tag>::ToHex() const {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  for (const char c : ToBytes()) {
    const auto byte = static_cast<unsigned char>(c);
    hex += kDigits[byte >> 4];
    hex += kDigits[byte & 15];
  }
  return hex;
}

template class Id128<struct ObjectIdTag>;
template class Id128<struct CutIdTag>;
template class Id128<struct VolumeIdTag>;
template class Id128<struct SessionIdTag>;

}  // namespace tandem
