// FUSE over io_uring, as Linux 6.14 and later speak it: include/uapi/linux/fuse.h of the kernel,
// which the headers of older distributions lack.
//
// Each entry is registered with two buffers: a RingHeader, and one for the payload. A request comes
// with its fuse_in_header in `in_out`, the structure of its operation in `operation`, and what
// follows that (names, data) in the payload. A reply goes back with its fuse_out_header in `in_out`
// and everything that follows in the payload.
#pragma once

#include <cstdint>

namespace tandem::fs::uring_abi {

struct EntryState {
  uint64_t flags;
  uint64_t commit_id;  // names the request when its reply is committed
  uint32_t payload_bytes;
  uint32_t padding;
  uint64_t reserved;
};

struct RingHeader {
  char in_out[128];
  char operation[128];
  EntryState entry;
};
static_assert(sizeof(RingHeader) == 288);

// In the SQE's command area.
struct Command {
  uint64_t flags;
  uint64_t commit_id;
  uint16_t queue;
  uint8_t padding[6];
};

// SQE's cmd_op.
inline constexpr uint32_t kRegister = 1;
inline constexpr uint32_t kCommitAndFetch = 2;

// FUSE_OVER_IO_URING, in flags2 of FUSE_INIT's request and reply.
inline constexpr uint32_t kOverIoUring = 1U << (41 - 32);

// Of io_uring itself, since Linux 6.15: IORING_FEAT_NO_IOWAIT, IORING_ENTER_NO_IOWAIT.
inline constexpr uint32_t kFeatNoIoWait = 1U << 17;
inline constexpr uint32_t kEnterNoIoWait = 1U << 7;

}  // namespace tandem::fs::uring_abi
