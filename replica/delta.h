// librsync, wrapped: signatures, deltas and patches over windows of content that fit in memory.
// Any thread. librsync's codes become Error here. Format: librsync's own (RK signatures with
// BLAKE2), see replica/PROTOCOL.md.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "meta/base/result.h"

namespace tandem::replica {

// Block length is chosen from the window's size (librsync's recommendation).
Result<std::string> MakeSignature(std::string_view basis);
// Whether this may be the signature of `basis_bytes` of content. One with other blocks, or more of
// them, can keep MakeDelta at work for hours.
bool IsSignatureOf(uint64_t basis_bytes, std::string_view signature);
// What turns the basis of `signature` into `content`.
Result<std::string> MakeDelta(std::string_view signature, std::string_view content);
// Fails with kCorrupt on a malformed delta or one whose result is not exactly `length` bytes.
Result<std::string> ApplyDelta(std::string_view basis, std::string_view delta, size_t length);

}  // namespace tandem::replica
