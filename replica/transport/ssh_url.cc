#include "replica/transport/ssh_url.h"

#include <arpa/inet.h>
#include <sys/un.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <filesystem>
#include <string_view>

namespace tandem::replica {
namespace {

constexpr std::string_view kScheme = "ssh://";
constexpr int kHighestPort = 65535;
constexpr size_t kLongestHost = 253;
constexpr size_t kLongestUser = 128;
constexpr size_t kLongestSocket = sizeof(sockaddr_un{}.sun_path) - 1;

tl::unexpected<Error> BadUrl(const std::string& url, const std::string& why) {
  return MakeError(
      ErrorKind::kUsage,
      "use replica \"" + url + "\": " + why + " (ssh://[USER@]HOST[:PORT][/SOCKET] is expected)",
      EINVAL);
}

// Returns true if the text has only letters, digits and characters of `others`, and does not look
// like an option.
bool IsPlain(std::string_view text, std::string_view others) {
  return !text.starts_with('-') && std::ranges::all_of(text, [&](unsigned char c) {
    return (c < 0x80 && std::isalnum(c) != 0) || others.find(static_cast<char>(c)) != others.npos;
  });
}

bool IsIpv6(const std::string& text) {
  in6_addr address;
  const bool is_whole = text.find('\0') == text.npos;  // to inet_pton a text ends at a NUL
  return is_whole && inet_pton(AF_INET6, text.c_str(), &address) == 1;
}

// Returns what is wrong with the user; empty if nothing is.
std::string UserError(std::string_view user) {
  if (user.empty()) return "it has an empty user";
  if (user.find(':') != user.npos) {
    return "a password does not belong in a URL, and ssh is given none: use a key";
  }
  if (user.size() > kLongestUser || !IsPlain(user, "._+-@")) return "its user is not a user's name";
  return "";
}

// Reads HOST or HOST:PORT or [IPV6]:PORT. Returns what is wrong with it; empty if nothing is.
std::string ReadHost(const std::string& text, SshUrl& parsed) {
  std::string port;
  bool has_port = false;
  if (text.starts_with('[')) {
    const size_t end = text.find(']');
    parsed.host = text.substr(1, end == text.npos ? end : end - 1);
    const std::string rest = end == text.npos ? "" : text.substr(end + 1);
    if (end == text.npos || !IsIpv6(parsed.host) || (!rest.empty() && !rest.starts_with(':'))) {
      return text + " is not an IPv6 address in brackets";
    }
    has_port = !rest.empty();
    port = has_port ? rest.substr(1) : "";
  } else {
    const size_t colon = text.find(':');
    if (colon != text.rfind(':')) return "an IPv6 address stands in brackets";
    parsed.host = text.substr(0, colon);
    has_port = colon != text.npos;
    port = has_port ? text.substr(colon + 1) : "";
    if (parsed.host.empty()) return "it has no host";
    if (parsed.host.size() > kLongestHost || !IsPlain(parsed.host, "._-")) {
      return parsed.host + " is not a host name or address";
    }
  }
  if (!has_port) return "";
  const char* const end = port.data() + port.size();
  int number = 0;
  const auto read = std::from_chars(port.data(), end, number);
  if (read.ec != std::errc() || read.ptr != end || number < 1 || number > kHighestPort) {
    return "\"" + port + "\" is not a valid port: a port is a number from 1 to " +
           std::to_string(kHighestPort);
  }
  parsed.port = static_cast<uint16_t>(number);
  return "";
}

// Returns what is wrong with the path, which begins with '/'; empty if nothing is.
std::string ReadSocket(const std::string& path, SshUrl& parsed) {
  if (path == "/") return "";
  if (path.ends_with('/')) return "it needs the whole path of a socket, from /";
  if (path.size() > kLongestSocket) {
    return "the path of a socket has at most " + std::to_string(kLongestSocket) + " bytes";
  }
  if (!IsPlain(path, "/._+-=,@")) {
    return "the path of the socket has a character other than letters, digits and /._+-=,@";
  }
  parsed.socket = std::filesystem::path(path).lexically_normal().string();
  while (parsed.socket.starts_with("//")) parsed.socket.erase(0, 1);
  const bool is_file = !parsed.socket.ends_with('/') && !parsed.socket.ends_with("/.");
  return is_file ? "" : "it needs the whole path of a socket, from /";
}

}  // namespace

std::string SshUrl::ToString() const {
  std::string text(kScheme);
  if (!user.empty()) text += user + "@";
  text += host.find(':') == host.npos ? host : "[" + host + "]";
  if (port != 0) text += ":" + std::to_string(port);
  return text + socket;
}

bool IsSshUrl(const std::string& url) { return url.starts_with(kScheme); }

Result<SshUrl> ParseSshUrl(const std::string& url) {
  if (!IsSshUrl(url)) return BadUrl(url, "its scheme is not ssh");
  std::string rest = url.substr(kScheme.size());
  SshUrl parsed;
  if (const size_t slash = rest.find('/'); slash != rest.npos) {
    if (const std::string fault = ReadSocket(rest.substr(slash), parsed); !fault.empty()) {
      return BadUrl(url, fault);
    }
    rest.erase(slash);
  }
  if (const size_t at = rest.rfind('@'); at != rest.npos) {
    parsed.user = rest.substr(0, at);
    if (const std::string fault = UserError(parsed.user); !fault.empty()) return BadUrl(url, fault);
    rest.erase(0, at + 1);
  }
  if (const std::string fault = ReadHost(rest, parsed); !fault.empty()) return BadUrl(url, fault);
  return parsed;
}

}  // namespace tandem::replica
