// Cuts content into chunks whose ends depend on the content alone, so that what was moved, inserted
// into or copied is cut in the same places again. Both sides cut; they name a chunk by its digest.
//
// FastCDC (Xia et al., "FastCDC: a Fast and Efficient Content-Defined Chunking Approach for Data
// Deduplication", USENIX ATC 2016): a chunk ends where the gear hash of the 64 bytes before has
// zeros in certain places, in fewer of them the longer the chunk is. The gear table is the output
// of SplitMix64 for seed 0. Table, sizes and masks are part of the protocol.
//
// The digest is BLAKE2b with 256 bits, because users choose content: one that can be made up would
// let a user fetch the bytes of another.
//
// Any thread may call these functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "meta/base/result.h"

namespace tandem::replica {

inline constexpr size_t kLeastChunk = 16 << 10;
inline constexpr size_t kUsualChunk = 32 << 10;
inline constexpr size_t kMostChunk = 64 << 10;
inline constexpr size_t kContentDigestBytes = 32;

// Returns the length of the first chunk of `bytes`: all of it, if it does not end before.
size_t FirstChunk(std::string_view bytes);

// Returns the digest of the bytes.
Result<std::string> ContentDigest(std::string_view bytes);
// Returns what a chunk of that digest is asked for by: its first eight bytes.
uint64_t ChunkName(std::string_view digest);

struct ContentChunk {
  size_t offset;  // in the bytes that were cut
  size_t length;
  uint64_t name;
};
// Cuts `bytes`. The last chunk may end only because the bytes do.
Result<std::vector<ContentChunk>> CutContent(std::string_view bytes);

}  // namespace tandem::replica
