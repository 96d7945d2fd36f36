// How `tandem` talks to a running tandemfs: JSON requests over a local socket whose name follows
// from the mountpoint, below /run/tandemfs (root) or the user's runtime directory.
//
// Requests are objects with "op"; replies are objects, with "error" (a sentence) if it did not
// work. tools/unix_connection.h says how they travel.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "meta/base/result.h"

namespace tandem::tools {

using Json = nlohmann::json;

// The directory of the sockets; made if `create`, and it need not be there otherwise. Refused
// unless it is ours and only we may write to it: below /tmp anybody could have made it.
Result<std::string> ControlDirectory(bool create);
// The socket of the tandemfs mounted at `mountpoint` (absolute, no symlinks).
std::string ControlSocket(const std::string& directory, const std::string& mountpoint);
// The file the server at `socket` keeps locked while it runs.
std::string ControlLock(const std::string& socket);
// Whether a tandemfs runs that holds the lock. The socket of one that was killed stays behind, and
// to connect as a trial would cost the server's listener a pause.
bool ControlIsServed(const std::string& socket);
// The sockets of all running mounts of this user.
Result<std::vector<std::string>> AllControlSockets();

// `path` from the root and without symlinks; of a dead mount, what can be said without asking it.
std::string AbsolutePath(const std::string& path);

// The socket of the mount that holds `path`; kUsage if there is none.
Result<std::string> FindControlSocket(const std::string& path);

// One request, one reply. Fails with kUnreachable if nobody answers within the time, whatever the
// server does, or with what "error" says.
Result<Json> AskControl(const std::string& socket, const Json& request, int timeout_ms);

// Bytes that are not UTF-8 come out as U+FFFD instead of an exception.
std::string Dump(const Json& json);

}  // namespace tandem::tools
