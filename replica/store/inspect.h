// What the replica has: answers to List, Find, GetSignature and GetDigests, from the catalog or
// from the disk. Only while no redo runs: the tree and the catalog agree then. One thread for one
// Catalog.
#pragma once

#include "meta/base/result.h"
#include "meta/base/unique_fd.h"
#include "replica/apply/catalog.h"
#include "replica/apply/foreign_edits.h"
#include "replica/apply/plan.h"
#include "replica/apply/tree.h"
#include "replica/wire/messages.h"

namespace tandem::replica {

// nullopt: the replica has no such directory.
Result<std::optional<Listing>> ListNames(Catalog& catalog, Tree& tree, const List& request);
Result<Found> FindObjects(Catalog& catalog, Tree& tree, const Find& request);

// For reading; invalid: no such regular file. May be used without the catalog and during a redo.
Result<UniqueFd> OpenFile(Tree& tree, ObjectId object);
Result<Signature> SignatureOf(int fd, const GetSignature& request);

// Objects the plan needs in the tree, and that somebody has taken from there, or whose content
// somebody has changed: they are to be sent whole. Says so to `edits`; null: the tree is of no one
// moment, and only what is not there is looked for.
Result<std::vector<ObjectId>> FindAbsent(Plan& plan, Catalog& catalog, Tree& tree,
                                         ForeignEdits* edits);

}  // namespace tandem::replica
