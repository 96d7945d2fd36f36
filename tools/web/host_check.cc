#include "tools/web/host_check.h"

#include <arpa/inet.h>
#include <strings.h>

#include <algorithm>
#include <charconv>

namespace tandem::tools {
namespace {

constexpr uint16_t kDefaultPort = 7449;
constexpr uint16_t kHttpPort = 80;

tl::unexpected<Error> BadAddress(const std::string& text, const char* why) {
  return MakeError(ErrorKind::kUsage,
                   "listen on " + text + " (" + why +
                       ": 127.0.0.1:7449, localhost:7449 and [::1]:7449 are possible, with any "
                       "port; 0 is a free one). From another machine, use ssh -L "
                       "7449:127.0.0.1:7449 HOST");
}

bool EqualIgnoringCase(std::string_view a, std::string_view b) {
  return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0;
}

bool IsLoopback(const std::string& host) {
  in_addr four;
  if (inet_pton(AF_INET, host.c_str(), &four) == 1) return ntohl(four.s_addr) >> 24 == 127;
  return host == "::1";
}

}  // namespace

Result<ListenAddress> ParseListenAddress(const std::string& text) {
  ListenAddress address{text, kDefaultPort};
  const size_t bracket = text.find(']');
  const size_t colon = text.rfind(':');
  if (colon != std::string::npos && (bracket == std::string::npos || colon > bracket)) {
    address.host = text.substr(0, colon);
    const char* const end = text.data() + text.size();
    const auto read = std::from_chars(text.data() + colon + 1, end, address.port);
    if (read.ec != std::errc() || read.ptr != end) return BadAddress(text, "its port is no number");
  }
  if (address.host.starts_with('[') && address.host.ends_with(']')) {
    address.host = address.host.substr(1, address.host.size() - 2);
  }
  if (EqualIgnoringCase(address.host, "localhost")) address.host = "127.0.0.1";
  if (!IsLoopback(address.host)) return BadAddress(text, "it is not an address of this host alone");
  return address;
}

std::string ToUrlHost(const ListenAddress& address) {
  const bool is_v6 = address.host.find(':') != std::string::npos;
  const std::string host = is_v6 ? "[" + address.host + "]" : address.host;
  return host + ":" + std::to_string(address.port);
}

HostCheck::HostCheck(const ListenAddress& address) {
  for (const std::string& host :
       {std::string("127.0.0.1"), std::string("localhost"), std::string("::1"), address.host}) {
    hosts_.push_back(ToUrlHost({host, address.port}));
    if (address.port != kHttpPort) continue;
    const std::string& with_port = hosts_.back();  // browsers leave this port out
    hosts_.push_back(with_port.substr(0, with_port.rfind(':')));
  }
}

bool HostCheck::AllowsHost(std::string_view host) const {
  return std::ranges::any_of(
      hosts_, [host](const std::string& own) { return EqualIgnoringCase(own, host); });
}

bool HostCheck::AllowsOrigin(std::string_view origin, std::string_view host) const {
  constexpr std::string_view kScheme = "http://";
  return AllowsHost(host) && origin.starts_with(kScheme) &&
         EqualIgnoringCase(origin.substr(kScheme.size()), host);
}

}  // namespace tandem::tools
