// Gives an object on the replica's disk the attributes it has on the source: owner, then mode, then
// extended attributes (ACLs and capabilities among them), then times. In this order, because each
// step can undo a later one. What tandemd may not set (it is not root, or the filesystem has no
// such attribute) is skipped and reported to the caller; replica.db has the true value. Any thread
// may call these functions, each for another object.
#pragma once

#include <sys/types.h>

#include <cstdint>
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
// Returns them separated by blanks, as LackingObjects has them.
std::string Joined(const XattrNames& names);

// What is known of an object's extended attributes before they are written.
enum class XattrsNow : uint8_t { kUnknown, kNone };

// Writes all attributes but the size; content is left alone. `fd` may be O_PATH, of any kind of
// object. Removes the extended attributes that are not in `attributes.xattrs`, except this host's
// own labels (own_labels.h). Returns the names of the extended attributes that could not be set or
// removed.
Result<XattrNames> WriteAttributes(int fd, const meta::Attributes& attributes, Notices& notices,
                                   XattrsNow now = XattrsNow::kUnknown);
// Returns the mode that a new file is made with: its own if nobody gets a right by that which the
// finished file does not give, so that it need not be set later.
mode_t FirstModeOf(const meta::Attributes& attributes);

}  // namespace tandem::replica
