#include "meta/base/ids.h"

#include <endian.h>
#include <sys/random.h>

#include "meta/base/hex.h"

namespace tandem {

template <typename Tag>
Id128<Tag> Id128<Tag>::Random() {
  uint64_t words[2] = {0, 0};
  while (words[0] == 0 && words[1] == 0) {
    // getrandom(2): once the pool is initialised, requests of up to 256 bytes return all bytes.
    if (getrandom(words, sizeof words, 0) != sizeof words) continue;
  }
  return Id128(words[0], words[1]);
}

template <typename Tag>
std::optional<Id128<Tag>> Id128<Tag>::FromHex(std::string_view hex) {
  const auto bytes = tandem::FromHex(hex);
  return bytes ? FromBytes(*bytes) : std::nullopt;
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
  const auto bytes = ToBytes();
  return tandem::ToHex({bytes.data(), bytes.size()});
}

template class Id128<struct ObjectIdTag>;
template class Id128<struct CutIdTag>;
template class Id128<struct VolumeIdTag>;
template class Id128<struct SessionIdTag>;
template class Id128<struct RunIdTag>;
template class Id128<struct LifeIdTag>;

}  // namespace tandem
