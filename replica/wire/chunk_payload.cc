#include "replica/wire/chunk_payload.h"

#include <endian.h>
#include <xxhash.h>
#include <zstd.h>

namespace tandem::replica {

uint64_t ChecksumOf(std::string_view bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

uint64_t DigestOf(const std::vector<uint64_t>& chunk_checksums) {
  std::vector<uint64_t> little_endian;
  little_endian.reserve(chunk_checksums.size());
  for (const uint64_t checksum : chunk_checksums) little_endian.push_back(htole64(checksum));
  return XXH3_64bits(little_endian.data(), little_endian.size() * sizeof(uint64_t));
}

Result<std::vector<Record>> UnpackRecords(std::string_view payload, uint64_t raw_size) {
  if (raw_size == 0) return DecodeRecords(payload);
  if (raw_size > kMaxMessageBytes) {
    return MakeError(ErrorKind::kProtocol, "unpack a chunk (larger than the limit)", EBADMSG);
  }
  std::string raw(raw_size, '\0');
  const size_t size = ZSTD_decompress(raw.data(), raw.size(), payload.data(), payload.size());
  if (ZSTD_isError(size) != 0 || size != raw_size) {
    return MakeError(ErrorKind::kProtocol, "unpack a chunk (damaged compression)", EBADMSG);
  }
  return DecodeRecords(raw);
}

}  // namespace tandem::replica
