// What an object may have in the tree only if its volume's account has the right to it
// (Rights::may_set_special in replica/accounts/rights.h), since it would give a user of this host
// power over the host: setuid and setgid bits (of anything but a directory, where they give none),
// device nodes, and the attributes that only a privileged process can set: file capabilities and
// all else in the namespaces security.* and trusted.*. Any thread.
//
// Without the right the object is there without them: a device as an empty file. The catalog has
// the true values, and lists what was withheld of which object (LackingObjects::Note).
#pragma once

#include <string>

#include "meta/source/attributes.h"

namespace tandem::replica {

// The setuid and setgid bits.
inline constexpr uint32_t kSetIdBits = 06000;

bool IsDevice(meta::Kind kind);

// Removes from `attributes` what takes the right. Returns the names of what was removed, separated
// by blanks: "device", "setuid", "setgid", and those of extended attributes. (The kind stays: the
// caller makes no device.)
std::string WithholdSpecial(meta::Attributes& attributes);

}  // namespace tandem::replica
