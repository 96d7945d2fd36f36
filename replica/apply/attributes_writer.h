// Gives an object on the replica's disk the attributes it has on the source: owner, then mode, then
// extended attributes (ACLs and capabilities among them), then times; each can undo what stands
// before it. What we may not set (we are not root, the filesystem has no such attribute) is left,
// told to the caller, and stands true in replica.db.
// One thread.
#pragma once

#include <string>
#include <vector>

#include "meta/attributes.h"
#include "meta/base/result.h"
#include "replica/apply/catalog.h"

namespace tandem::replica {

// In which ways the disk falls short of the catalog.
struct Notices {
  bool owner = false;
  bool mode = false;
  bool device = false;
  LackingXattrs xattrs;

  // For people; empty if there is nothing to say.
  std::string ToString() const;
};

// The names of extended attributes that could not be set, or removed.
using XattrNames = std::vector<std::string>;

// `fd` may be O_PATH, of any kind of object. Extended attributes it has beyond `attributes.xattrs`
// are removed, but for this host's own labels (own_labels.h). Size and content are left alone.
Result<XattrNames> WriteAttributes(int fd, const meta::Attributes& attributes, Notices& notices);

}  // namespace tandem::replica
