// The frames of a stage file (format: stage.h). Within replica/apply: for the sources of Stage.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "replica/apply/stage.h"
#include "replica/wire/chunk_payload.h"
#include "replica/wire/little_endian.h"

namespace tandem::replica {

inline constexpr uint32_t kStageMagic = 0x31534654;  // "TFS1"
inline constexpr uint32_t kBeginFrame = 1;
inline constexpr uint32_t kChunkFrame = 2;
inline constexpr uint32_t kCommitFrame = 3;
inline constexpr uint32_t kResumeFrame = 4;
inline constexpr size_t kFrameHeaderBytes = 56;
inline constexpr char kStageSuffix[] = ".stage";

struct Stage::Header {
  uint32_t kind = 0;
  uint64_t sequence = 0;
  uint64_t raw_size = 0;
  uint64_t size = 0;
  uint64_t received_checksum = 0;
  uint64_t checksum = 0;

  static Header For(uint32_t kind, std::string_view payload) {
    return {kind, 0, 0, payload.size(), 0, ChecksumOf(payload)};
  }

  std::string Pack() const {
    Packer packer;
    packer.Number(uint64_t{kind} << 32 | kStageMagic)
        .Number(sequence)
        .Number(raw_size)
        .Number(size);
    packer.Number(received_checksum).Number(checksum);
    return packer.Number(ChecksumOf(packer.bytes())).bytes();
  }

  static std::optional<Header> Unpack(std::string_view bytes) {
    Unpacker unpacker(bytes);
    const uint64_t first = unpacker.Number();
    Header header{static_cast<uint32_t>(first >> 32),
                  unpacker.Number(),
                  unpacker.Number(),
                  unpacker.Number(),
                  unpacker.Number(),
                  unpacker.Number()};
    const uint64_t own = unpacker.Number();
    if (!unpacker.AtEnd() || static_cast<uint32_t>(first) != kStageMagic ||
        own != ChecksumOf(bytes.substr(0, kFrameHeaderBytes - sizeof own))) {
      return std::nullopt;
    }
    return header;
  }
};

}  // namespace tandem::replica
