// The payload of a chunk: records, zstd-compressed or not. Any thread may call these functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "meta/base/result.h"
#include "replica/wire/messages.h"

namespace tandem::replica {

// The most records of a chunk, and the fewest bytes that one takes there. Decoded, a record takes
// ten times that. (tandemfs has always sent 4096 at most.)
inline constexpr size_t kMaxChunkRecords = 1 << 16;
inline constexpr size_t kLeastRecordBytes = 24;

// Returns the XXH3-64 that Chunk::checksum and the stage file use.
uint64_t ChecksumOf(std::string_view bytes);
// Returns the digest of a change set (Commit::digest): XXH3-64 of its chunks' checksums, in order,
// little endian.
uint64_t DigestOf(const std::vector<uint64_t>& chunk_checksums);

// Decompresses the payload, which must yield exactly `raw_size` bytes, unless `raw_size` is 0; then
// decodes and checks the records. Returns kProtocol if the payload is not what Chunk describes.
Result<std::vector<Record>> UnpackRecords(std::string_view payload, uint64_t raw_size);

}  // namespace tandem::replica
