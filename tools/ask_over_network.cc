// The part of tools/enrolment.h that needs the network.
#include <chrono>
#include <thread>

#include "replica/transport/transport.h"
#include "tools/enrolment.h"

namespace tandem::tools {
namespace {

constexpr std::chrono::seconds kPatience{10};
constexpr std::chrono::milliseconds kPause{10};

// Waits until there is a connection, or the first attempt to make one has failed.
Status Connect(replica::RequestSocket& socket, const std::string& url,
               const std::function<bool()>& is_closed) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (socket.connection() == 0) {
    if (is_closed()) return MakeError(ErrorKind::kCancelled, "connect to " + url, ECANCELED);
    const std::string why = socket.WhyNotConnected();
    if (why.empty() && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::sleep_for(kPause);
      continue;
    }
    return MakeError(ErrorKind::kUnreachable,
                     "connect to " + url + " (" + (why.empty() ? "no answer" : why) + ")",
                     EHOSTUNREACH);
  }
  return {};
}

}  // namespace

Result<std::string> NetworkAsker::Ask(const std::string& url,
                                      const replica::Credentials& credentials,
                                      std::string request) {
  ASSIGN_OR_RETURN(auto dialled, replica::RequestSocket::Dial(url, credentials));
  const std::shared_ptr<replica::RequestSocket> socket = std::move(dialled);
  {
    MutexLock lock(mutex_);
    if (closed_) return MakeError(ErrorKind::kCancelled, "ask " + url, ECANCELED);
    socket_ = socket;
  }
  Result<std::string> answer = std::string();
  if (Status connected = Connect(*socket, url, [this] { return IsClosed(); }); !connected) {
    answer = tl::unexpected<Error>(std::move(connected.error()));
  } else {
    answer = socket->Ask(std::move(request), kPatience);
  }
  MutexLock lock(mutex_);
  socket_.reset();
  return answer;
}

bool NetworkAsker::IsClosed() {
  MutexLock lock(mutex_);
  return closed_;
}

void NetworkAsker::Close() {
  MutexLock lock(mutex_);
  closed_ = true;
  if (socket_ != nullptr) socket_->Close();
}

Result<std::string> AskOverNetwork(const std::string& url, const replica::Credentials& credentials,
                                   std::string request) {
  NetworkAsker asker;
  return asker.Ask(url, credentials, std::move(request));
}

}  // namespace tandem::tools
