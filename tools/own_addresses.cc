#include "tools/own_addresses.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <limits.h>
#include <net/if.h>
#include <netinet/in.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

namespace tandem::tools {
namespace {

// Returns the address as it stands in a URL; an empty string if it leads to no other host.
std::string InUrl(const sockaddr* address) {
  char text[INET6_ADDRSTRLEN] = "";
  if (address->sa_family == AF_INET) {
    const in_addr& ipv4 = reinterpret_cast<const sockaddr_in*>(address)->sin_addr;
    constexpr uint32_t kLinkLocal = 0xa9fe;  // 169.254/16
    if (ntohl(ipv4.s_addr) >> 16 == kLinkLocal) return "";
    return inet_ntop(AF_INET, &ipv4, text, sizeof text) != nullptr ? text : "";
  }
  if (address->sa_family != AF_INET6) return "";
  const in6_addr& ipv6 = reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr;
  if (IN6_IS_ADDR_LINKLOCAL(&ipv6)) return "";
  if (inet_ntop(AF_INET6, &ipv6, text, sizeof text) == nullptr) return "";
  return "[" + std::string(text) + "]";
}

struct Freer {
  void operator()(ifaddrs* list) const { freeifaddrs(list); }
};

}  // namespace

std::vector<std::string> OwnAddresses(int port) {
  std::vector<std::string> hosts;
  char name[HOST_NAME_MAX + 1] = "";
  if (gethostname(name, sizeof name - 1) == 0 && name[0] != '\0') hosts.emplace_back(name);
  std::erase(hosts, "localhost");
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) == 0) {
    const std::unique_ptr<ifaddrs, Freer> owner(list);
    for (const ifaddrs* item = list; item != nullptr; item = item->ifa_next) {
      const bool leads_out =
          (item->ifa_flags & IFF_UP) != 0 && (item->ifa_flags & IFF_LOOPBACK) == 0;
      if (item->ifa_addr == nullptr || !leads_out) continue;
      std::string address = InUrl(item->ifa_addr);
      if (!address.empty() && std::ranges::find(hosts, address) == hosts.end()) {
        hosts.push_back(std::move(address));
      }
    }
  }
  for (std::string& host : hosts) host += ":" + std::to_string(port);
  return hosts;
}

}  // namespace tandem::tools
