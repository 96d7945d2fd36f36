// The addresses at which other hosts may reach this one. Any thread.
#pragma once

#include <string>
#include <vector>

namespace tandem::tools {

// Returns HOST:PORT for the host's name and for each address of its interfaces, without loopback
// and link-local ones. Brackets stand around IPv6 addresses.
std::vector<std::string> OwnAddresses(int port);

}  // namespace tandem::tools
