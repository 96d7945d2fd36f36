// A chunk's payload: records, perhaps compressed with zstd. Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "meta/base/result.h"
#include "replica/wire/messages.h"

namespace tandem::replica {

// XXH3-64, as Chunk::checksum and the stage file have it.
uint64_t ChecksumOf(std::string_view bytes);
// Of a change set: XXH3-64 of its chunks' checksums, in order, little endian (Commit::digest).
uint64_t DigestOf(const std::vector<uint64_t>& chunk_checksums);

// Decompresses if raw_size != 0 (and then into exactly that many bytes), decodes and checks.
// kProtocol on anything else than Chunk describes.
Result<std::vector<Record>> UnpackRecords(std::string_view payload, uint64_t raw_size);

}  // namespace tandem::replica
