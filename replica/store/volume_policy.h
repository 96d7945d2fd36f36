// What a volume's account may have in the tree, as far as a redo needs to know it. It stands in the
// file VOLUME/rights, so that a start, which redoes what a crash has left before any source says
// Hello, knows it too. Without that file everything is allowed. One thread at a time.
#pragma once

#include "meta/base/result.h"

namespace tandem::replica {

struct VolumePolicy {
  // setuid and setgid bits, devices, security.* and trusted.*: replica/apply/special_attributes.h.
  bool may_set_special = true;
  friend bool operator==(const VolumePolicy&, const VolumePolicy&) = default;
};

// Returns that nothing special is allowed if the file is there and cannot be read.
VolumePolicy ReadPolicy(int volume_fd);
// Writes the file durably.
Status WritePolicy(int volume_fd, const VolumePolicy& policy);

}  // namespace tandem::replica
