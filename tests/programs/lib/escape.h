// Arbitrary bytes (names, xattr values) as one line of printable ASCII.
#pragma once

#include <string>
#include <string_view>

namespace tandem::programs {

// Printable ASCII stays as it is except the backslash; every other byte
// becomes \\, \n or \xHH. Reversible.
std::string Escape(std::string_view bytes);

// "ENOENT" for ENOENT; "errno 4711" for one without a name.
std::string ErrnoName(int error);

}  // namespace tandem::programs
