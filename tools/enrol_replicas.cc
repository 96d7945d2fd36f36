#include "tools/enrol_replicas.h"

#include "meta/base/log.h"

namespace tandem::tools {

Status EnrolReplicas(std::vector<ReplicaArgument>& replicas, const HostKeys& keys,
                     const AskDaemon& ask) {
  bool any = false;
  for (ReplicaArgument& replica : replicas) {
    if (!replica.url.starts_with('@')) continue;
    any = true;
    ASSIGN_OR_RETURN(const replica::Token token, ReadToken(replica.url.substr(1)));
    ASSIGN_OR_RETURN(replica.url, Enrol(token, keys, ask));
    if (replica.name.empty()) replica.name = replica.url.substr(replica.url.find("://") + 3);
    LogInfo("replica {} is {}", replica.name, replica.url);
  }
  return any ? CheckReplicas(replicas) : Status();
}

}  // namespace tandem::tools
