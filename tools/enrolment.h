// How this host gets a key that a replica daemon knows: with the token of an invitation, once; and
// how it changes that key when the daemon's administrator wants it. If the process is killed at any
// point, doing the same again completes it: a key is on stable storage before it is sent.
//
// Any thread. They wait for the network.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "meta/base/mutex.h"
#include "meta/base/result.h"
#include "replica/transport/credentials.h"
#include "replica/transport/token.h"
#include "tools/host_keys.h"

namespace tandem::replica {
class RequestSocket;
}

namespace tandem::tools {

// Sends one request to the daemon at `url` and returns the reply.
using AskDaemon = std::function<Result<std::string>(
    const std::string& url, const replica::Credentials& credentials, std::string request)>;
// Asks over a connection for this request alone, and waits for up to ten seconds, or until Close.
class NetworkAsker {
 public:
  Result<std::string> Ask(const std::string& url, const replica::Credentials& credentials,
                          std::string request);
  // Ends the request under way and all later ones with kCancelled.
  void Close();

 private:
  bool IsClosed();
  Mutex mutex_;
  bool closed_ GUARDED_BY(mutex_) = false;
  std::shared_ptr<replica::RequestSocket> socket_ GUARDED_BY(mutex_);
};
// Asks with a NetworkAsker of its own.
Result<std::string> AskOverNetwork(const std::string& url, const replica::Credentials& credentials,
                                   std::string request);

// Reads the token from FILE, or from stdin if `argument` is "-". Warns if others can read FILE.
Result<replica::Token> ReadToken(const std::string& file);

// Enrols with the daemon of the token, unless that has been done, and stores key and certificate.
// Returns the URL by which the daemon is to be reached from then on. Returns kRefused if the daemon
// refuses, and kUnreachable if it is at none of the token's addresses.
Result<std::string> Enrol(const replica::Token& token, const HostKeys& keys, const AskDaemon& ask);

// Asks the daemon whether this host's key for `url` is to be renewed, and renews it. Returns true
// if there is a new key, which CredentialsFor then returns. The former one is good for another hour
// after the first use of the new one.
Result<bool> RenewIfAsked(const std::string& url, const HostKeys& keys, const AskDaemon& ask);

}  // namespace tandem::tools
