// The URL of a replica that is reached through ssh: ssh://[USER@]HOST[:PORT][/SOCKET]. What is left
// out is for ssh's own configuration to say, and for the other host. Plain values.
#pragma once

#include <cstdint>
#include <string>

#include "meta/base/result.h"

namespace tandem::replica {

struct SshUrl {
  std::string user;    // empty: as ssh's configuration says
  std::string host;    // a name, an alias of ssh's configuration, or an address; without brackets
  uint16_t port = 0;   // 0: as ssh's configuration says
  std::string socket;  // tandemd's, on the other host; empty: its default

  // Returns the one spelling of the URL.
  std::string ToString() const;
};

bool IsSshUrl(const std::string& url);

// Parses a URL. No part of it can be taken for an option of ssh, or mean anything to the shell of
// the other host. Fails with kUsage, with the URL, what is wrong with it, and the accepted syntax.
Result<SshUrl> ParseSshUrl(const std::string& url);

}  // namespace tandem::replica
