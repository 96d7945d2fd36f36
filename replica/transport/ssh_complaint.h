// Turns what ssh wrote on stderr before it ended into one line for people. Any thread.
#pragma once

#include <string>
#include <string_view>

#include "replica/transport/ssh_url.h"

namespace tandem::replica {

struct SshComplaint {
  std::string text;      // one line: the URL, ssh's words, what to do
  bool refused = false;  // only a person can help, so it is tried again more seldom
};

// `exit_code` is ssh's own, which is that of the command on the other host if there was a
// connection, or -1 if it is not known.
SshComplaint ExplainSsh(const SshUrl& url, std::string_view stderr_text, int exit_code);

}  // namespace tandem::replica
