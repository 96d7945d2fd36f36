// How verify compares the attributes of an object on both sides, and what it calls a difference.
// Any thread may call these functions.
#pragma once

#include <string>
#include <vector>

#include "meta/source/attributes.h"

namespace tandem::replica {

// Returns "WHAT OURS, replica THEIRS".
std::string Versus(const std::string& what, const std::string& ours, const std::string& theirs);

// Returns the first thing in which they differ, not counting content and extended attributes; an
// empty string if there is none. Their kinds are equal.
std::string AttributeDifference(const meta::Attributes& ours, const meta::Attributes& theirs);

// Returns whether content that is not known to be equal may differ: every write changes the time.
bool ContentMayDiffer(const meta::Attributes& ours, const meta::Attributes& theirs);

// Returns one phrase for each extended attribute that differs.
std::vector<std::string> XattrDifferences(const meta::Xattrs& ours, const meta::Xattrs& theirs);

}  // namespace tandem::replica
