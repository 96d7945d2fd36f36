// Answers List from the catalog (disk_listing.h does it from the disk), Find, and GetSignature.
// Called only while no redo runs, when the tree and the catalog agree.
//
// One thread for one Catalog.
#pragma once

#include "meta/base/result.h"
#include "meta/base/unique_fd.h"
#include "replica/apply/catalog.h"
#include "replica/apply/foreign_edits.h"
#include "replica/apply/plan.h"
#include "replica/apply/tree.h"
#include "replica/wire/messages.h"

namespace tandem::replica {

// Lists names from the catalog. Returns nullopt if the replica has no such directory.
Result<std::optional<Listing>> ListNames(Catalog& catalog, const List& request);
Result<Found> FindObjects(Catalog& catalog, Tree& tree, const Find& request);

// Opens the file for reading. Returns an invalid descriptor if there is no such regular file. The
// descriptor may be used without the catalog and during a redo.
Result<UniqueFd> OpenFile(Tree& tree, ObjectId object);
Result<Signature> SignatureOf(int fd, const GetSignature& request);

// Returns objects that the plan needs in the tree and that another program has removed, or whose
// content it has changed: they have to be sent whole. Reports them to `edits`. If `edits` is null,
// the tree is of no one moment, and only missing objects are looked for.
Result<std::vector<ObjectId>> FindAbsent(Plan& plan, Catalog& catalog, Tree& tree,
                                         ForeignEdits* edits);

}  // namespace tandem::replica
