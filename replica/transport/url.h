// The URLs that the transport connects to and listens at; of tls://ACCOUNT@HOST:PORT the account
// does not matter here. Plain values. What users may write is
// checked before (tools/replica_url.h).
#pragma once

#include <string>

#include "meta/base/result.h"

namespace tandem::replica {

struct StreamUrl {
  enum class Scheme { kTcp, kTls, kIpc };

  // Returns kUsage if the scheme is none of these, or nothing follows it.
  static Result<StreamUrl> Parse(const std::string& url);
  // Returns the URL with this port, which is not that of ipc.
  std::string WithPort(int port) const;

  Scheme scheme = Scheme::kTcp;
  std::string host;     // without the brackets of an IPv6 address; of ipc the path
  std::string address;  // what nng takes: tcp://... or ipc://...
};

}  // namespace tandem::replica
