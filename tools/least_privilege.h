// Gives up the rights that a daemon does not need, so that somebody who takes it over has no more
// than those. What is given up cannot be had again.
//
// Capabilities belong to a thread, and new threads inherit them: call these functions before there
// is another thread. (system_call_filter.h is for afterwards.)
#pragma once

#include <string>

#include "meta/base/result.h"

namespace tandem::tools {

// For tandemd. Of root's capabilities leaves CHOWN, DAC_OVERRIDE, FOWNER, FSETID, MKNOD and
// SETFCAP; and SYS_ADMIN, if `trusted_attributes`: the kernel takes it for trusted.* and for
// security.* other than file capabilities. Empties the bounding and ambient sets of all else, and
// sets no_new_privs. Without root it only does the latter.
Status ReduceToReplica(bool trusted_attributes);

// For tandemfs, which acts for all users, and so keeps what file operations can take. Gives up what
// concerns devices, networks, the clock, other processes, and security modules. Root also sets
// no_new_privs; other users cannot, because fusermount3 mounts and unmounts for them.
Status ReduceToMount();

// Goes on as this user, with the user's groups. Requires root. Of the capabilities nothing is left.
Status BecomeUser(const std::string& name);

}  // namespace tandem::tools
