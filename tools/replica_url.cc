#include "tools/replica_url.h"

#include <arpa/inet.h>
#include <sys/un.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <filesystem>
#include <optional>
#include <string_view>

#include "replica/transport/ssh_url.h"

namespace tandem::tools {
namespace {

constexpr int kHighestPort = 65535;
constexpr size_t kLongestHost = 253;
constexpr size_t kLongestAccount = 64;
constexpr size_t kLongestSocket = sizeof(sockaddr_un{}.sun_path) - 1;

struct Address {
  std::string host;
  std::optional<std::string> port;
};

tl::unexpected<Error> BadUrl(const std::string& url, UrlUse use, const std::string& why) {
  return MakeError(ErrorKind::kUsage,
                   (use == UrlUse::kListen ? "listen on \"" : "use replica \"") + url +
                       "\": " + why +
                       " (tls://[ACCOUNT@]HOST[:PORT], ssh://[USER@]HOST[:PORT], ipc:///PATH or "
                       "tcp://HOST[:PORT] is expected)",
                   EINVAL);
}

bool IsInLoopbackNet(const std::string& host) {
  constexpr uint32_t kNet = 127;
  in_addr address;
  if (inet_pton(AF_INET, host.c_str(), &address) == 1) {
    return (ntohl(address.s_addr) >> 24) == kNet;
  }
  return host == "localhost" || host == "[::1]";
}

Address Split(const std::string& text) {
  const size_t bracket = text.starts_with('[') ? text.find(']') : std::string::npos;
  const size_t colon = text.find(':', bracket == std::string::npos ? 0 : bracket);
  if (colon == std::string::npos) return {text, std::nullopt};
  return {text.substr(0, colon), text.substr(colon + 1)};
}

// Returns what is wrong with the host; empty if nothing is.
std::string HostError(const std::string& host, UrlUse use) {
  if (host.empty()) return "it has no host";
  if (host == "*" && use == UrlUse::kListen) return "";
  if (host.starts_with('[')) {
    in6_addr address;
    const bool is_ipv6 =
        host.ends_with(']') &&
        inet_pton(AF_INET6, host.substr(1, host.size() - 2).c_str(), &address) == 1;
    return is_ipv6 ? "" : host + " is not an IPv6 address in brackets";
  }
  const bool is_name = std::ranges::all_of(host, [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '.' || c == '-' || c == '_';
  });
  return is_name && host.size() <= kLongestHost ? "" : host + " is not a host name or address";
}

bool CanNameAnAccount(const std::string& text) {
  return !text.empty() && text.size() <= kLongestAccount &&
         std::ranges::all_of(text, [](unsigned char c) {
           return (c < 0x80 && std::isalnum(c) != 0) || c == '.' || c == '-' || c == '_';
         });
}

// Checks HOST[:PORT], and completes it.
Result<std::string> CheckAddress(const std::string& url, const std::string& scheme,
                                 const std::string& rest, UrlUse use) {
  const std::string expected = "a port is a number from " +
                               std::string(use == UrlUse::kListen ? "0" : "1") + " to " +
                               std::to_string(kHighestPort);
  if (std::ranges::count(rest, ':') > 1 && !rest.starts_with('[')) {
    return BadUrl(
        url, use,
        "it has more than one colon: an IPv6 address stands in brackets, and " + expected);
  }
  auto [host, port] = Split(rest);
  std::ranges::transform(host, host.begin(), [](unsigned char c) { return std::tolower(c); });
  if (const std::string fault = HostError(host, use); !fault.empty())
    return BadUrl(url, use, fault);
  if (!port && use == UrlUse::kReplica && IsInLoopbackNet(host)) {
    return BadUrl(url, use,
                  "several daemons may listen on this machine: say which by its port, as in " +
                      scheme + "://" + host + ":" + std::to_string(kDefaultPort));
  }
  if (!port) return host + ":" + std::to_string(kDefaultPort);
  int number = -1;
  const char* const end = port->data() + port->size();
  const auto read = std::from_chars(port->data(), end, number);
  const bool fits = read.ec == std::errc() && read.ptr == end && number <= kHighestPort &&
                    number >= (use == UrlUse::kListen ? 0 : 1);
  if (!fits) return BadUrl(url, use, "\"" + *port + "\" is not a valid port: " + expected);
  return host + ":" + std::to_string(number);
}

Result<std::string> CheckNetwork(const std::string& url, const std::string& scheme,
                                 const std::string& rest, UrlUse use) {
  const size_t at = rest.find('@');
  if (at == std::string::npos) {
    ASSIGN_OR_RETURN(const std::string address, CheckAddress(url, scheme, rest, use));
    return scheme + "://" + address;
  }
  const std::string account = rest.substr(0, at);
  if (use != UrlUse::kReplica || scheme != "tls") {
    return BadUrl(url, use, "only the URL of a replica over tls:// may have an account");
  }
  if (!CanNameAnAccount(account)) return BadUrl(url, use, "\"" + account + "\" is no account");
  ASSIGN_OR_RETURN(const std::string address, CheckAddress(url, scheme, rest.substr(at + 1), use));
  return scheme + "://" + account + "@" + address;
}

Result<std::string> CheckIpc(const std::string& url, const std::string& path, UrlUse use) {
  // A path that ends in . or .. ends in a slash once that is resolved.
  const std::string resolved = std::filesystem::path(path).lexically_normal().string();
  if (!path.starts_with('/') || resolved.ends_with('/')) {
    return BadUrl(url, use, "it needs the whole path of a socket, from /");
  }
  if (path.size() > kLongestSocket) {
    return BadUrl(url, use,
                  "the path of a socket has at most " + std::to_string(kLongestSocket) + " bytes");
  }
  return "ipc://" + resolved;
}

}  // namespace

Result<std::string> CheckUrl(const std::string& url, UrlUse use) {
  constexpr std::string_view kAfterScheme = "://";
  const size_t at = url.find(kAfterScheme);
  if (at == std::string::npos) return BadUrl(url, use, "it has no scheme");
  const std::string scheme = url.substr(0, at);
  const std::string rest = url.substr(at + kAfterScheme.size());
  // ssh:// has rules of its own, which are stricter. Of others, what system calls are given would
  // end at a NUL.
  if (scheme != "ssh" &&
      std::ranges::any_of(url, [](unsigned char c) { return std::iscntrl(c) != 0; })) {
    return BadUrl(url, use, "it has a control character");
  }
  if (scheme == "tcp" || scheme == "tls") return CheckNetwork(url, scheme, rest, use);
  if (scheme == "ipc") return CheckIpc(url, rest, use);
  if (scheme == "ssh" && use == UrlUse::kReplica) {
    ASSIGN_OR_RETURN(const replica::SshUrl parsed, replica::ParseSshUrl(url));
    return parsed.ToString();
  }
  if (scheme == "ssh") {
    return BadUrl(url, use, "ssh:// leads to a replica: sshd listens, not tandemd");
  }
  return BadUrl(url, use, "the scheme \"" + scheme + "\" is unknown");
}

}  // namespace tandem::tools
