// Digests of blocks of content, computed the same way on both sides of a verify: XXH3-128
// (libxxhash, canonical byte order), BLAKE2b with 256 bits (libb2), SHA-256 and MD5 (libcrypto).
// Any thread may call these functions; a Hasher is used by one thread.
#pragma once

#include <atomic>
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
  // Returns the digest of all bytes since the last Finish.
  virtual std::string Finish() = 0;
};

// Returns the digests of the blocks of `fd` in [offset, offset+length), in the form of Digests.
// Requires `fd` to be open for reading. Returns kCancelled soon after `stopping` is set.
Result<Digests> DigestBlocks(int fd, uint64_t offset, uint64_t length, const DigestOptions& options,
                             const std::atomic<bool>* stopping = nullptr);

// Like DigestBlocks, for bytes in memory.
Result<std::string> DigestBytes(std::string_view bytes, uint32_t block_size,
                                HashAlgorithm algorithm);
// Returns the blocks of `window` whose digests differ or exist on one side only. Adjacent blocks
// are one range.
std::vector<ByteRange> DifferingBlocks(std::string_view ours, std::string_view theirs,
                                       uint32_t digest_size, ByteRange window, uint32_t block_size);

}  // namespace tandem::replica
