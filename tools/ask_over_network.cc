// The part of tools/enrolment.h that needs the network.
#include "replica/transport/transport.h"
#include "tools/enrolment.h"

namespace tandem::tools {
namespace {

constexpr std::chrono::seconds kPatience{10};

}  // namespace

Result<std::string> AskOverNetwork(const std::string& url, const replica::Credentials& credentials,
                                   std::string request) {
  // A template, so that it compiles with a transport that takes no credentials too.
  const auto dial = []<typename Socket>(Socket*, const auto& to, const auto& with) {
    if constexpr (requires { Socket::Dial(to, with); }) {
      return Socket::Dial(to, with);
    } else {
      return Socket::Dial(to);
    }
  };
  ASSIGN_OR_RETURN(const auto socket,
                   dial(static_cast<replica::RequestSocket*>(nullptr), url, credentials));
  return socket->Ask(std::move(request), kPatience);
}

}  // namespace tandem::tools
