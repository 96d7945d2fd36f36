// Packs numbers and ids as the stage file stores them: little endian, one after another.
// Not thread-safe: an instance is used by one thread at a time.
#pragma once

#include <endian.h>

#include <cstring>
#include <string>
#include <string_view>

#include "meta/base/ids.h"

namespace tandem::replica {

class Packer {
 public:
  Packer& Number(uint64_t value) {
    value = htole64(value);
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  template <typename Tag>
  Packer& Id(const Id128<Tag>& id) {
    const auto bytes = id.ToBytes();
    bytes_.append(bytes.data(), bytes.size());
    return *this;
  }
  Packer& Bytes(std::string_view bytes) {
    bytes_.append(bytes);
    return *this;
  }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

// Reads what Packer wrote. A read beyond the end returns zeros, and good() is false from then on.
class Unpacker {
 public:
  explicit Unpacker(std::string_view bytes) : bytes_(bytes) {}

  uint64_t Number() {
    uint64_t value = 0;
    const auto bytes = Take(sizeof value);
    if (good_) std::memcpy(&value, bytes.data(), sizeof value);
    return le64toh(value);
  }
  template <typename IdType>
  IdType Id() {
    return IdType::FromBytes(Take(IdType::kSize)).value_or(IdType());
  }
  bool good() const { return good_; }
  // Returns true if all reads were within the bytes and no byte is left.
  bool AtEnd() const { return good_ && bytes_.empty(); }

 private:
  std::string_view Take(size_t count) {
    if (bytes_.size() < count) {
      good_ = false;
      return {};
    }
    const auto taken = bytes_.substr(0, count);
    bytes_.remove_prefix(count);
    return taken;
  }

  std::string_view bytes_;
  bool good_ = true;
};

}  // namespace tandem::replica
