// The part of tools/enrolment.h that needs the network.
#include "replica/transport/transport.h"
#include "tools/enrolment.h"

namespace tandem::tools {
namespace {

constexpr std::chrono::seconds kPatience{10};

Result<std::unique_ptr<replica::RequestSocket>> Dial(const std::string& url,
                                                     const replica::Credentials& credentials) {
  // A template, so that it compiles with a transport that takes no credentials too.
  const auto dial = []<typename Socket>(Socket*, const auto& to, const auto& with) {
    if constexpr (requires { Socket::Dial(to, with); }) {
      return Socket::Dial(to, with);
    } else {
      return Socket::Dial(to);
    }
  };
  return dial(static_cast<replica::RequestSocket*>(nullptr), url, credentials);
}

}  // namespace

Result<std::string> NetworkAsker::Ask(const std::string& url,
                                      const replica::Credentials& credentials,
                                      std::string request) {
  ASSIGN_OR_RETURN(auto dialled, Dial(url, credentials));
  const std::shared_ptr<replica::RequestSocket> socket = std::move(dialled);
  {
    MutexLock lock(mutex_);
    if (closed_) return MakeError(ErrorKind::kCancelled, "ask " + url, ECANCELED);
    socket_ = socket;
  }
  auto answer = socket->Ask(std::move(request), kPatience);
  MutexLock lock(mutex_);
  socket_.reset();
  return answer;
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
