// Gives an object on the replica's disk the attributes it has on the source: owner, then mode, then
// extended attributes (ACLs and capabilities among them), then times. In this order, because each
// step can undo a later one. What tandemd may not set (it is not root, or the filesystem has no
// such attribute) is skipped and reported to the caller; replica.db has the true value. One thread.
#pragma once

#include <string>
#include <vector>

#include "meta/base/result.h"
#include "meta/source/attributes.h"
#include "replica/apply/catalog.h"

namespace tandem::replica {

// What the disk lacks of what the catalog says.
struct Notices {
  bool owner = false;
  bool mode = false;
  bool device = false;
  LackingAttributes lacking;

  // Returns a text for users, or an empty string if the disk lacks nothing.
  std::string ToString() const;
};

// The names of extended attributes that could not be set, or removed.
using XattrNames = std::vector<std::string>;

// Writes all attributes but the size; content is left alone. `fd` may be O_PATH, of any kind of
// object. Removes the extended attributes that are not in `attributes.xattrs`, except this host's
// own labels (own_labels.h). Returns the names of the extended attributes that could not be set or
// removed.
Result<XattrNames> WriteAttributes(int fd, const meta::Attributes& attributes, Notices& notices);

}  // namespace tandem::replica
