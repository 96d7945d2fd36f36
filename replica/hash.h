// Digests of blocks of content, computed alike on both sides of a verify. Any thread; a Hasher
// belongs to one. Sources: XXH3-128 (libxxhash, canonical byte order), BLAKE2b with 256 bits
// (libb2), SHA-256 and MD5 (libcrypto).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "meta/base/result.h"
#include "replica/wire/messages.h"

namespace tandem::replica {

uint32_t DigestSize(HashAlgorithm algorithm);

class Hasher {
 public:
  static Result<std::unique_ptr<Hasher>> Create(HashAlgorithm algorithm);
  virtual ~Hasher() = default;

  virtual void Update(std::string_view bytes) = 0;
  // The digest of all bytes since the last Finish.
  virtual std::string Finish() = 0;
};

enum class Cache {
  kUse,
  kDrop,  // write back and forget what memory holds of the range first: read from the device
};

// Digests of the blocks of `fd` (open for reading) in [offset, offset+length), as Digests has them.
Result<Digests> DigestBlocks(int fd, uint64_t offset, uint64_t length, uint32_t block_size,
                             HashAlgorithm algorithm, Cache cache);

// The same of bytes in memory.
Result<std::string> DigestBytes(std::string_view bytes, uint32_t block_size,
                                HashAlgorithm algorithm);
// Blocks of `window` whose digests are not the same, or not on both sides; neighbours as one.
std::vector<ByteRange> DifferingBlocks(std::string_view ours, std::string_view theirs,
                                       uint32_t digest_size, ByteRange window, uint32_t block_size);

}  // namespace tandem::replica
