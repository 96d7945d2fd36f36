// Says for people why a connection to a replica daemon does not come about: what was found, and
// what to look at. Any thread.
#pragma once

#include <string>

#include "meta/base/result.h"
#include "replica/transport/url.h"

namespace tandem::replica {

// nng returned `code` instead of a connection.
std::string WhyNotDialed(int code, const std::string& url, const StreamUrl& target);
// There was a connection, and it ended for this reason before a tandemd had answered.
std::string WhyNotGreeted(const Error& why, const std::string& url);
// A tandemd had answered, and then the connection ended for this reason.
std::string WhyEnded(const Error& why, const std::string& url);

}  // namespace tandem::replica
