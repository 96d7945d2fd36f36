// Replaces the invitations of a command line, --replica [NAME=]@FILE, by the URLs of their daemons.
// Called once at the start, before the process leaves its terminal.
#pragma once

#include <vector>

#include "meta/base/result.h"
#include "tools/enrolment.h"
#include "tools/mount_arguments.h"

namespace tandem::tools {

// Asks like AskOverNetwork, from a process of its own: nng allows no fork in a process that has
// used it, and tandemfs forks to go to the background. Call it while there is one thread only.
Result<std::string> AskInChild(const std::string& url, const replica::Credentials& credentials,
                               std::string request);

// Enrols where that has not been done; waits for the network then.
Status EnrolReplicas(std::vector<ReplicaArgument>& replicas, const HostKeys& keys = HostKeys(),
                     const AskDaemon& ask = AskInChild);

}  // namespace tandem::tools
