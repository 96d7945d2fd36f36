// The part of tools/enrolment.h that needs the network.
#include "replica/transport/transport.h"
#include "tools/enrolment.h"

namespace tandem::tools {
namespace {

constexpr std::chrono::seconds kPatience{10};

}  // namespace

Result<std::string> AskOverNetwork(const std::string& url, const replica::Credentials& credentials,
                                   std::string request) {
  ASSIGN_OR_RETURN(const auto socket, replica::RequestSocket::Dial(url, credentials));
  return socket->Ask(std::move(request), kPatience);
}

}  // namespace tandem::tools
