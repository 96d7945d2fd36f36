// The strong types that cross interfaces: which object, which epoch, which cut, which volume.
// Plain values: no thread rules.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "meta/base/result.h"

namespace tandem {

// 128 bits, printed as 32 lower-case hexadecimal digits. Tag makes each use its own type.
template <typename Tag>
class Id128 {
 public:
  static constexpr size_t kSize = 16;

  constexpr Id128() = default;
  constexpr Id128(uint64_t high, uint64_t low) : high_(high), low_(low) {}

  static Id128 Random();
  static std::optional<Id128> FromHex(std::string_view hex);
  // From its 16-byte big-endian form, as it stands in the database and on the wire.
  static std::optional<Id128> FromBytes(std::string_view bytes);

  constexpr uint64_t high() const { return high_; }
  constexpr uint64_t low() const { return low_; }
  constexpr bool is_null() const { return high_ == 0 && low_ == 0; }
  std::array<char, kSize> ToBytes() const;
  std::string ToHex() const;

  friend constexpr auto operator<=>(const Id128&, const Id128&) = default;

 private:
  uint64_t high_ = 0;
  uint64_t low_ = 0;
};

// Which file, directory, ...: a hash of the backing filesystem's file handle (meta/file_handle.h).
// The null id means "no object".
using ObjectId = Id128<struct ObjectIdTag>;
// One of a volume's cuts, in any run, on any host.
using CutId = Id128<struct CutIdTag>;
using VolumeId = Id128<struct VolumeIdTag>;
using SessionId = Id128<struct SessionIdTag>;
// One run of tandemfs, from its start to its end. Kept in memory only, so that no copy has it.
using RunId = Id128<struct RunIdTag>;

// The root of every volume has this id, whatever its handle.
inline constexpr ObjectId kRootObject{0, 1};

// Number of an epoch, and of the cut that ends it. 0: before the first.
class Epoch {
 public:
  constexpr Epoch() = default;
  constexpr explicit Epoch(uint64_t number) : number_(number) {}
  constexpr uint64_t number() const { return number_; }
  constexpr Epoch Next() const { return Epoch(number_ + 1); }
  friend constexpr auto operator<=>(const Epoch&, const Epoch&) = default;

 private:
  uint64_t number_ = 0;
};

// No epoch is numbered higher. Whoever reads one from outside (the wire, a file, a database) checks
// it against this, so that no counter wraps and nobody outside can name a special value, which are
// all higher (kDeferredEpoch). How far a running source follows what it is told stands in
// meta/epoch_limit.h.
inline constexpr Epoch kNewestEpoch{uint64_t{1} << 62};

// A cut as both sides name it: the number orders, the id proves that it is the same one.
struct CutName {
  Epoch epoch;
  CutId id;
  friend constexpr bool operator==(const CutName&, const CutName&) = default;
};

struct EntryKey {
  ObjectId parent;
  std::string name;
  friend bool operator==(const EntryKey&, const EntryKey&) = default;
  friend auto operator<=>(const EntryKey&, const EntryKey&) = default;
};

extern template class Id128<struct ObjectIdTag>;
extern template class Id128<struct CutIdTag>;
extern template class Id128<struct VolumeIdTag>;
extern template class Id128<struct SessionIdTag>;
extern template class Id128<struct RunIdTag>;

}  // namespace tandem

template <typename Tag>
struct std::hash<tandem::Id128<Tag>> {
  size_t operator()(const tandem::Id128<Tag>& id) const noexcept {
    return static_cast<size_t>(id.low() ^ (id.high() * 0x9e3779b97f4a7c15ULL));
  }
};

template <>
struct std::hash<tandem::EntryKey> {
  size_t operator()(const tandem::EntryKey& key) const noexcept {
    return std::hash<tandem::ObjectId>()(key.parent) * 31 + std::hash<std::string>()(key.name);
  }
};
