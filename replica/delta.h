// Wraps librsync: signatures, deltas and patches over windows of content that fit in memory.
// Any thread may call these functions. librsync's codes become Error here. The format is librsync's
// own (RK signatures with BLAKE2); see replica/PROTOCOL.md.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "meta/base/result.h"

namespace tandem::replica {

// Returns the signature of `basis`. The block length follows from the size of `basis`: librsync's
// recommendation, and at most 1 KiB.
Result<std::string> MakeSignature(std::string_view basis);
// Returns true if `signature` may be the signature of `basis_bytes` bytes of content. Check this
// before MakeDelta: a signature with other blocks, or with more of them, can keep MakeDelta busy
// for hours.
bool IsSignatureOf(uint64_t basis_bytes, std::string_view signature);
// Returns a delta that turns the basis of `signature` into `content`.
Result<std::string> MakeDelta(std::string_view signature, std::string_view content);
// Returns kCorrupt if the delta is malformed or its result is not exactly `length` bytes long.
Result<std::string> ApplyDelta(std::string_view basis, std::string_view delta, size_t length);

}  // namespace tandem::replica
