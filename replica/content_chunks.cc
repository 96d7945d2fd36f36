#include "replica/content_chunks.h"

#include <algorithm>
#include <array>

#include "replica/hash.h"

namespace tandem::replica {
namespace {

constexpr std::array<uint64_t, 256> MakeGear() {
  std::array<uint64_t, 256> gear{};
  uint64_t state = 0;
  for (uint64_t& value : gear) {
    state += 0x9e3779b97f4a7c15;
    uint64_t mixed = state;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111eb;
    value = mixed ^ (mixed >> 31);
  }
  return gear;
}

constexpr std::array<uint64_t, 256> kGear = MakeGear();

// The highest bits depend on the most bytes. 15 of them would make chunks of kUsualChunk; two more
// before that length and two fewer after it keep most chunks near it.
constexpr uint64_t HighBits(int count) { return ~uint64_t{0} << (64 - count); }
constexpr uint64_t kMaskBefore = HighBits(17);
constexpr uint64_t kMaskAfter = HighBits(13);

}  // namespace

size_t FirstChunk(std::string_view bytes) {
  if (bytes.size() <= kLeastChunk) return bytes.size();
  const size_t usual = std::min(bytes.size(), kUsualChunk);
  const size_t most = std::min(bytes.size(), kMostChunk);
  const auto* const at = reinterpret_cast<const uint8_t*>(bytes.data());
  uint64_t hash = 0;
  size_t length = kLeastChunk;
  for (; length < usual; ++length) {
    hash = (hash << 1) + kGear[at[length]];
    if ((hash & kMaskBefore) == 0) return length + 1;
  }
  for (; length < most; ++length) {
    hash = (hash << 1) + kGear[at[length]];
    if ((hash & kMaskAfter) == 0) return length + 1;
  }
  return most;
}

Result<std::string> ContentDigest(std::string_view bytes) {
  ASSIGN_OR_RETURN(const auto hasher, Hasher::Create(HashAlgorithm::kBlake2b));
  hasher->Update(bytes);
  return hasher->Finish();
}

uint64_t ChunkName(std::string_view digest) {
  uint64_t name = 0;
  for (size_t i = 0; i < sizeof name && i < digest.size(); ++i) {
    name = name << 8 | static_cast<uint8_t>(digest[i]);
  }
  return name;
}

Result<std::vector<ContentChunk>> CutContent(std::string_view bytes) {
  ASSIGN_OR_RETURN(const auto hasher, Hasher::Create(HashAlgorithm::kBlake2b));
  std::vector<ContentChunk> chunks;
  for (size_t at = 0; at < bytes.size();) {
    const size_t length = FirstChunk(bytes.substr(at));
    hasher->Update(bytes.substr(at, length));
    chunks.push_back({at, length, ChunkName(hasher->Finish())});
    at += length;
  }
  return chunks;
}

}  // namespace tandem::replica
