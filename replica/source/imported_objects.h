// What of an imported copy (replica/wire/imported.h) can stand for an object of the source. Plain
// functions: no thread rules.
#pragma once

#include "meta/source/attributes.h"
#include "replica/wire/messages.h"

namespace tandem::replica {

// Returns true if the object was imported, and kind, size and modification time say that its
// content is the source's. The copy may have been made with a coarser clock than the source's.
bool HasContentOf(const meta::Attributes& ours, const Listed& theirs);

// Returns true if the object was imported, has no id of ours yet, and can become ours by changes
// that do not make it anew.
bool CanBecome(const meta::Attributes& ours, const Listed& theirs);

}  // namespace tandem::replica
