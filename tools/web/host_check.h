// Which requests the web page's server believes to be meant for it. A browser sends requests for
// any page that it shows: one whose name has been made to resolve to 127.0.0.1 (DNS rebinding) is
// known by its Host, one that belongs to another site by its Origin.
//
// Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "meta/base/result.h"

namespace tandem::tools {

struct ListenAddress {
  std::string host;  // an IP address, without brackets
  uint16_t port = 0;
};

// Parses HOST[:PORT], where HOST is localhost, 127.X.X.X or [::1]. Fails with kUsage for any other
// address: the page is for this host only.
Result<ListenAddress> ParseListenAddress(const std::string& text);

// Returns HOST:PORT as it stands in a URL.
std::string ToUrlHost(const ListenAddress& address);

class HostCheck {
 public:
  // `address` is where the server listens, with its real port.
  explicit HostCheck(const ListenAddress& address);

  // Returns whether `host`, the value of a Host header, names this server.
  bool AllowsHost(std::string_view host) const;
  // Returns whether `origin`, the value of an Origin header, is that of a page from `host`.
  bool AllowsOrigin(std::string_view origin, std::string_view host) const;

 private:
  std::vector<std::string> hosts_;
};

}  // namespace tandem::tools
