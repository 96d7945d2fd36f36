// Strong types that identify objects, epochs, cuts and volumes across interfaces. Plain values
// without thread rules.
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

// A 128-bit id, printed as 32 lower-case hexadecimal digits. Tag makes each use a distinct type.
template <typename Tag>
class Id128 {
 public:
  static constexpr size_t kSize = 16;

  constexpr Id128() = default;
  constexpr Id128(uint64_t high, uint64_t low) : high_(high), low_(low) {}

  static Id128 Random();
  static std::optional<Id128> FromHex(std::string_view hex);
  // Parses the 16-byte big-endian form used in the database and on the wire.
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

// Identifies an object by a hash of the backing filesystem's file handle
// (meta/change/file_handle.h). The null id means "no object".
using ObjectId = Id128<struct ObjectIdTag>;
// Identifies one of a volume's cuts, in any run and on any host.
using CutId = Id128<struct CutIdTag>;
using VolumeId = Id128<struct VolumeIdTag>;
using SessionId = Id128<struct SessionIdTag>;
// Identifies one run of tandemfs, from its start to its end. It is kept only in memory, so that a
// copy of the state directory does not have it.
using RunId = Id128<struct RunIdTag>;
// Identifies a time in which a disk loses nothing that was written to it. It ends with a power cut,
// an I/O error, or anything else after which the disk may be older than what was read from it.
using LifeId = Id128<struct LifeIdTag>;

// The root of every volume has this id, whatever its handle.
inline constexpr ObjectId kRootObject{0, 1};

// The number of an epoch and of the cut that ends it. 0 stands for "before the first epoch".
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

// The highest number an epoch can have. Code that reads an epoch from outside (the wire, a file, a
// database) checks it against this, so that no counter wraps and no peer can name a special value
// (kDeferredEpoch): those are all higher. meta/change/epoch_limit.h defines how far a running
// source follows an epoch it is told of.
inline constexpr Epoch kNewestEpoch{uint64_t{1} << 62};

// Names a cut on both sides. The number orders cuts; equal ids prove that two names are of one cut.
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
extern template class Id128<struct LifeIdTag>;

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
