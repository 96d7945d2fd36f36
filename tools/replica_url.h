// The URLs at which replica daemons listen and are reached:
//   tcp://HOST[:PORT]   HOST is a name, an IPv4 address, or an IPv6 address in brackets
//   tls://[ACCOUNT@]HOST[:PORT]   likewise; ACCOUNT, of replicas only, chooses between several keys
//                       that this host has for one daemon (tools/host_keys.h)
//   ipc:///PATH         a socket of this machine
//   ssh://[USER@]HOST[:PORT][/SOCKET]   through ssh (replica/transport/ssh_url.h); replicas only
// Any thread.
#pragma once

#include <string>

#include "meta/base/result.h"

namespace tandem::tools {

inline constexpr int kDefaultPort = 7447;

enum class UrlUse {
  kListen,   // port 0 is any free port, host * every address
  kReplica,  // to connect to; on this machine, where several may listen, the port is required
};

// Returns the complete URL: with the port, the host in lower case, and no . or .. in a path. Fails
// with kUsage, with the URL, what is wrong with it, and the accepted syntax.
Result<std::string> CheckUrl(const std::string& url, UrlUse use);

}  // namespace tandem::tools
