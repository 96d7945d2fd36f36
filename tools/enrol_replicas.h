// Replaces the invitations of a command line, --replica [NAME=]@FILE, by the URLs of their daemons.
// Called once at the start, before the process leaves its terminal.
#pragma once

#include <vector>

#include "meta/base/result.h"
#include "tools/enrolment.h"
#include "tools/mount_arguments.h"

namespace tandem::tools {

// Enrols where that has not been done; waits for the network then.
Status EnrolReplicas(std::vector<ReplicaArgument>& replicas, const HostKeys& keys = HostKeys(),
                     const AskDaemon& ask = AskOverNetwork);

}  // namespace tandem::tools
