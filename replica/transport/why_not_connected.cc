#include "replica/transport/why_not_connected.h"

#include <nng/nng.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>

namespace tandem::replica {
namespace {

std::string WhyNoSocket(int code, const std::string& path) {
  struct stat found;
  if (stat(path.c_str(), &found) != 0) {
    return "no socket " + path + " (" + strerrordesc_np(errno) +
           "): is tandemd running, and does it listen there?";
  }
  if (!S_ISSOCK(found.st_mode)) return path + " is no socket";
  if (code == NNG_EPERM) {
    return "this user may not connect to " + path + ": is it in the group of the socket (tandemd)?";
  }
  return "nothing listens at " + path + " (" + nng_strerror(code) + "): is tandemd running?";
}

}  // namespace

std::string WhyNotDialed(int code, const std::string& url, const StreamUrl& target) {
  const std::string reason = std::string(" (") + nng_strerror(code) + ")";
  if (target.scheme == StreamUrl::Scheme::kIpc) return WhyNoSocket(code, target.host);
  switch (code) {
    case NNG_EADDRINVAL:
    case NNG_ENOENT:
      return "no address is known of host " + target.host + reason;
    case NNG_ECONNREFUSED:
      return "nothing listens at " + url + reason + ": is tandemd running there, at this port?";
    case NNG_ETIMEDOUT:
      return target.host + " is silent: no connection to " + url +
             " comes about. Is the host running, and does every firewall on the way let this port "
             "through?";
    default:
      return "there is no way to " + target.host + reason + ": is this host's network up?";
  }
}

std::string WhyNotGreeted(const Error& why, const std::string& url) {
  if (why.kind() == ErrorKind::kRefused) return "what answers at " + url + ": " + why.context();
  if (why.code() == ETIMEDOUT) {
    return "something listens at " + url + " and says nothing: is it tandemd, and is it stopped?";
  }
  const std::string wrong = "what listens at " + url + " is no tandemd";
  if (why.kind() == ErrorKind::kProtocol) return wrong + ": " + why.context();
  if (why.code() == EPROTO) return wrong + " with TLS: " + why.context();
  return wrong + ": it hangs up";
}

std::string WhyEnded(const Error& why, const std::string& url) {
  const std::string ended = "the connection to " + url + " has ended: ";
  const bool has_reason =
      why.kind() == ErrorKind::kProtocol || why.code() == EPROTO || why.code() == ETIMEDOUT;
  return ended + (has_reason ? why.context() : "tandemd, or something on the way, hung up");
}

}  // namespace tandem::replica
