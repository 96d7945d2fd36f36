// Where replica daemons listen and are reached, as the command lines have it:
//   tcp://HOST[:PORT]   HOST is a name, an IPv4 address, or an IPv6 address in brackets
//   ipc:///PATH         a socket of this machine
// Any thread.
#pragma once

#include <string>

#include "meta/base/result.h"

namespace tandem::tools {

inline constexpr int kDefaultPort = 7447;

enum class UrlUse {
  kListen,   // port 0 is any that is free, host * every address
  kReplica,  // to be reached; on this machine, where several may listen, by its port
};

// The URL in full: with the port, the host in lower case, and no . or .. in a path. kUsage names
// the URL, what is wrong with it, and what is expected.
Result<std::string> CheckUrl(const std::string& url, UrlUse use);

// Whether a URL that was checked leads nowhere but to this machine.
bool IsLoopback(const std::string& url);

}  // namespace tandem::tools
