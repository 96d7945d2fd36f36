// Gives up the rights that a daemon does not need, so that somebody who takes it over has no more
// than those. What is given up cannot be had again.
//
// Capabilities belong to a thread, and new threads inherit them: call these functions before there
// is another thread. (system_call_filter.h is for afterwards.)
#pragma once

#include <string>

#include "meta/base/result.h"

namespace tandem::tools {

struct ReplicaNeeds {
  bool trusted_attributes = false;  // trusted.*, and security.* other than file capabilities
  bool low_ports = false;           // below 1024
};

// For tandemd. Of root's capabilities leaves CHOWN, DAC_OVERRIDE, FOWNER, FSETID, MKNOD and
// SETFCAP; SYS_ADMIN and NET_BIND_SERVICE only if needed. Takes all others from the bounding and
// ambient sets too, and sets no_new_privs. Without root it only does the latter. To raise a limit
// takes SYS_RESOURCE: do so before.
Status ReduceToReplica(const ReplicaNeeds& needs);

// For tandemfs, which acts for all users, and so keeps what file operations can take. Gives up what
// concerns devices, networks, the clock, other processes, and security modules. Root also sets
// no_new_privs; other users cannot, because fusermount3 mounts and unmounts for them.
Status ReduceToMount();

// Goes on as this user, with the user's groups. Requires root. Of the capabilities nothing is left.
Status BecomeUser(const std::string& name);

}  // namespace tandem::tools
