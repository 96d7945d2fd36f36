#include "replica/transport/url.h"

#include <string_view>

namespace tandem::replica {

Result<StreamUrl> StreamUrl::Parse(const std::string& url) {
  constexpr std::string_view kAfterScheme = "://";
  const size_t at = url.find(kAfterScheme);
  const std::string scheme = url.substr(0, at);
  std::string rest = at == std::string::npos ? "" : url.substr(at + kAfterScheme.size());
  StreamUrl parsed;
  if (scheme == "ipc") {
    parsed.scheme = Scheme::kIpc;
  } else if (scheme == "tls") {
    parsed.scheme = Scheme::kTls;
  } else if (scheme != "tcp") {
    return MakeError(
        ErrorKind::kUsage,
        "use the URL \"" + url + "\" (tls://HOST:PORT, tcp://HOST:PORT or ipc:///PATH is expected)",
        EINVAL);
  }
  const bool is_ipc = parsed.scheme == Scheme::kIpc;
  // The account chooses the key, which the caller has looked up.
  if (parsed.scheme == Scheme::kTls) rest.erase(0, rest.find('@') + 1);
  parsed.host = is_ipc ? rest : rest.substr(0, rest.rfind(':'));
  if (parsed.host.starts_with('[') && parsed.host.ends_with(']')) {
    parsed.host = parsed.host.substr(1, parsed.host.size() - 2);
  }
  if (parsed.host.empty() || (!is_ipc && rest.find(':') == std::string::npos)) {
    return MakeError(ErrorKind::kUsage, "use the URL \"" + url + "\" (it names no host and port)",
                     EINVAL);
  }
  parsed.address = (is_ipc ? "ipc://" : "tcp://") + rest;
  return parsed;
}

std::string StreamUrl::WithPort(int port) const {
  const std::string name = host.find(':') != std::string::npos ? "[" + host + "]" : host;
  return (scheme == Scheme::kTls ? "tls://" : "tcp://") + name + ":" + std::to_string(port);
}

}  // namespace tandem::replica
