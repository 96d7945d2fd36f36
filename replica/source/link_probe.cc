#include "replica/source/link_probe.h"

#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <exception>
#include <string_view>
#include <thread>

#include "meta/base/unique_fd.h"
#include "replica/source/tuning.h"

namespace tandem::replica {
namespace {

using std::chrono::milliseconds;

// What both sides of a connection say first (https://nanomsg.org/rfcs/sp-tcp-v1.html).
constexpr std::string_view kRequester("\0SP\0\0\x30\0\0", 8);
constexpr std::string_view kReplier("\0SP\0\0\x31\0\0", 8);

std::string Reason(int code) { return std::string(" (") + strerrordesc_np(code) + ")"; }

bool Await(const UniqueFd& fd, short events, milliseconds patience) {
  pollfd awaited{fd.get(), events, 0};
  int ready = -1;
  while ((ready = poll(&awaited, 1, static_cast<int>(patience.count()))) < 0 && errno == EINTR) {
  }
  return ready > 0;
}

// Connects. Returns 0 or an errno.
int Connect(const UniqueFd& fd, const addrinfo& address, milliseconds patience) {
  if (connect(fd.get(), address.ai_addr, address.ai_addrlen) == 0) return 0;
  if (errno != EINPROGRESS) return errno;
  if (!Await(fd, POLLOUT, patience)) return ETIMEDOUT;
  int code = 0;
  socklen_t size = sizeof code;
  return getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &code, &size) == 0 ? code : errno;
}

std::string WhyNotConnected(int code, const std::string& url, const std::string& host) {
  if (code == ECONNREFUSED) {
    return "nothing listens at " + url + Reason(code) + ": is tandemd running there, at this port?";
  }
  if (code == ETIMEDOUT) {
    return host + " is silent: no connection to " + url +
           " comes about. Is the host running, and does every firewall on the way let this port "
           "through?";
  }
  return "there is no way to " + host + Reason(code) + ": is this host's network up?";
}

// Completes the handshake and ends the connection properly: what listens may be a tandemd.
std::string WhoAnswers(const UniqueFd& fd, const std::string& url, milliseconds patience) {
  std::string wrong = "what listens at " + url + " is no tandemd";
  std::string said;
  if (send(fd.get(), kRequester.data(), kRequester.size(), MSG_NOSIGNAL) < 0) return wrong;
  while (said.size() < kReplier.size()) {
    if (!Await(fd, POLLIN, patience)) {
      return "something listens at " + url + " and says nothing: is it tandemd, and is it stopped?";
    }
    char bytes[kReplier.size()];
    const ssize_t got = recv(fd.get(), bytes, kReplier.size() - said.size(), 0);
    if (got <= 0) return wrong + ": it hangs up";
    said.append(bytes, static_cast<size_t>(got));
    if (!kReplier.starts_with(said)) return wrong + ": it speaks another protocol";
  }
  return "";
}

std::string WhyNoTcp(const std::string& url, milliseconds patience) {
  const std::string rest = url.substr(url.find("://") + 3);
  const size_t colon = rest.rfind(':');
  if (colon == std::string::npos) return "";
  std::string host = rest.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  const int looked_up = getaddrinfo(host.c_str(), rest.substr(colon + 1).c_str(), &hints, &list);
  if (looked_up != 0) {
    return "no address is known of host " + host + " (" + gai_strerror(looked_up) + ")";
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> addresses(list, &freeaddrinfo);
  int code = 0;
  for (const addrinfo* address = list; address != nullptr; address = address->ai_next) {
    const UniqueFd fd(socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd.valid()) return "";
    const int failed = Connect(fd, *address, patience);
    if (failed == 0) return WhoAnswers(fd, url, patience);
    if (code == 0) code = failed;
  }
  return WhyNotConnected(code, url, host);
}

// Does not connect: nng's listeners fail on connections that are made and closed as a trial.
std::string WhyNoIpc(const std::string& path) {
  struct stat found;
  if (stat(path.c_str(), &found) != 0) {
    return "no socket " + path + Reason(errno) + ": is tandemd running, and does it listen there?";
  }
  return S_ISSOCK(found.st_mode) ? "" : path + " is no socket";
}

}  // namespace

std::string WhyNoConnection(const std::string& url, milliseconds patience) {
  constexpr std::string_view kIpc = "ipc://";
  if (url.starts_with(kIpc)) return WhyNoIpc(url.substr(kIpc.size()));
  return url.starts_with("tcp://") ? WhyNoTcp(url, patience) : "";
}

void LinkProbe::Look() {
  {
    MutexLock lock(shared_->mutex);
    if (shared_->looking || CondVar::Clock::now() < shared_->next) return;
    shared_->looking = true;
  }
  const auto look = [shared = shared_] {
    const auto begun = CondVar::Clock::now();
    bool looked = false;
    std::string found;
    try {
      found = WhyNoConnection(shared->url, kProbePatience);
      looked = shared->url.starts_with("tcp://");
    } catch (const std::exception&) {  // no memory: nothing is known
    }
    MutexLock lock(shared->mutex);
    if (looked && found.empty()) shared->reached = begun;
    shared->found = std::move(found);
    shared->looking = false;
    shared->next = CondVar::Clock::now() + kProbeEvery;
  };
  try {
    std::thread(look).detach();
  } catch (const std::exception&) {  // no more threads
    MutexLock lock(shared_->mutex);
    shared_->looking = false;
  }
}

std::string LinkProbe::found() const {
  MutexLock lock(shared_->mutex);
  return CondVar::Clock::now() < shared_->next + kProbeEvery ? shared_->found : "";
}

CondVar::Clock::time_point LinkProbe::reached() const {
  MutexLock lock(shared_->mutex);
  return shared_->reached;
}

}  // namespace tandem::replica
