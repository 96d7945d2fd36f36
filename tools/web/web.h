// `tandem web`: serves a web page on this host that shows this user's mounts and acts on them.
// Called once, by the main thread, while it is the only one.
#pragma once

#include <string>

#include "meta/base/result.h"

namespace tandem::tools {

struct WebOptions {
  std::string listen = "127.0.0.1:7449";  // a loopback address; port 0: a free one
  // For tests: the mounts are those with a control socket here, and not this user's.
  std::string sockets;
};

// For --help.
inline constexpr char kWebFooter[] =
    "Prints a link that logs a browser in. It works once, within 15 minutes; press Enter, or send\n"
    "SIGUSR1, for another one. Runs until Ctrl-C or SIGTERM. Only this host can reach the page;\n"
    "from elsewhere: ssh -L 7449:127.0.0.1:7449 HOST.\n"
    "Exit codes: 0 ended by a signal, 1 could not run, 2 usage, or the address is in use.";

// Returns the exit code when a signal ends it.
Result<int> RunWeb(const WebOptions& options);

}  // namespace tandem::tools
