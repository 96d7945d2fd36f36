// What the web page can do to a mount: each of its actions becomes a request to the control socket
// (tools/control.h).
//
// An action is a JSON object with "op" and "mount" (the id in Hub), and for each op:
//   pause {replica?, for_ms?} · resume {replica?} · sync {replica?} · interval {interval_ms}
//   bandwidth {replica, bwlimit} · verify {replica?, full?, repair?} · verify-stop {job}
//   replica-add {name, url | token} · replica-remove {name} · replica-rename {name, to}
//   replica-set-url {name, url}
// A token is the text of an invitation: this host enrols with it.
//
// Any thread. The functions wait for tandemfs, or for the replica's host.
#pragma once

#include <functional>
#include <string>

#include "tools/control.h"
#include "tools/web/hub.h"

namespace tandem::tools {

// Returns the request for the control socket. Fails with kUsage if the action is not one of those
// above, or a value of it is missing, of a wrong type or too long. Not for "verify-stop", nor for
// "replica-add" with a token.
Result<Json> ControlRequestOf(const Json& action);

// Enrols this host with an invitation, and returns the URL of its daemon.
using EnrolToken = std::function<Result<std::string>(const std::string& token)>;
Result<std::string> EnrolOverNetwork(const std::string& token);

class Actions {
 public:
  // `hub` is borrowed, and outlives it.
  explicit Actions(Hub& hub, EnrolToken enrol = EnrolOverNetwork)
      : hub_(hub), enrol_(std::move(enrol)) {}

  // Returns what to tell the user, as "said".
  Result<Json> Perform(const Json& action);
  // Returns the answer of a mount to the op "history".
  Result<Json> History(const std::string& mount);

 private:
  Result<Json> Sync(const std::string& socket, Json request);
  Result<Json> Add(const std::string& socket, const Json& action);

  Hub& hub_;
  const EnrolToken enrol_;
};

}  // namespace tandem::tools
