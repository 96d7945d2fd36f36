// How `tandem` talks to a running tandemfs: JSON requests over a local socket. The name of the
// socket is derived from the mountpoint; it lies below /run/tandemfs (root) or the user's runtime
// directory.
//
// A request is an object with "op". A reply is an object, with "error" (a sentence) on failure. How
// messages are sent: tools/unix_connection.h.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "meta/base/result.h"

namespace tandem::tools {

using Json = nlohmann::json;

// Returns the directory of the sockets. Makes it if `create`; otherwise it may be missing. Fails
// with kUsage unless this user owns it and no other user may write to it: below /tmp any user could
// have made it.
Result<std::string> ControlDirectory(bool create);
// Returns the socket of the tandemfs mounted at `mountpoint` (absolute, without symlinks).
std::string ControlSocket(const std::string& directory, const std::string& mountpoint);
// Returns the file that the server at `socket` keeps locked while it runs.
std::string ControlLock(const std::string& socket);
// Returns whether a tandemfs holds that lock. The socket alone does not tell: a killed tandemfs
// leaves it behind. To connect as a test would delay the server.
bool ControlIsServed(const std::string& socket);
// Returns the sockets of all running mounts of this user.
Result<std::vector<std::string>> AllControlSockets();

// Returns the absolute path without symlinks. If it cannot be resolved, as below a dead mount, only
// makes it absolute.
std::string AbsolutePath(const std::string& path);

// Returns the socket of the mount that contains `path`. Fails with kUsage if there is none.
Result<std::string> FindControlSocket(const std::string& path);

// Sends a request and returns the reply. Fails with kUnreachable if no reply arrives in time, and
// with the reply's "error" if it has one.
Result<Json> AskControl(const std::string& socket, const Json& request, int timeout_ms);

// Serializes `json`. Replaces bytes that are not UTF-8 by U+FFFD instead of throwing.
std::string Dump(const Json& json);

}  // namespace tandem::tools
