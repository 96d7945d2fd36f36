#include "tools/scrub_service.h"

#include <fcntl.h>
#include <unistd.h>

#include "meta/base/fd_path.h"
#include "meta/base/printable.h"
#include "replica/accounts/rights.h"
#include "replica/store/store_layout.h"
#include "tools/unix_connection.h"

namespace tandem::tools {
namespace {

replica::VolumeKey KeyOf(const std::string& name) {
  const size_t slash = name.find('/');
  if (slash == std::string::npos) return {replica::kLocalAccount, name};
  return {name.substr(0, slash), name.substr(slash + 1)};
}

// Opens the directory of the socket. Its path through the descriptor is short enough for a socket's
// address, whatever STORE is.
Result<UniqueFd> OpenSocketDirectory(const std::string& store_path) {
  UniqueFd fd(open(store_path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return ErrnoError("open directory " + store_path);
  return fd;
}

std::string SocketPathIn(const UniqueFd& directory) {
  return std::string(FdPath(directory.get()).c_str()) + "/" + replica::kControlSocket;
}

}  // namespace

Result<std::unique_ptr<UnixServer>> ScrubService::Listen(const std::string& store_path) {
  ASSIGN_OR_RETURN(const UniqueFd directory, OpenSocketDirectory(store_path));
  const std::string path = SocketPathIn(directory);
  // Left behind by a tandemd that was killed: the store is locked, so there is no other.
  unlink(path.c_str());
  ASSIGN_OR_RETURN(auto server,
                   UnixServer::Listen(path, UnixServer::Limits(), [this](std::string_view request) {
                     return AnswerText(request);
                   }));
  server->Serve();
  return server;
}

std::string ScrubService::AnswerText(std::string_view request) {
  const Json parsed = Json::parse(request, nullptr, /*allow_exceptions=*/false);
  const Result<Json> reply = Answer(parsed);
  if (reply) return Dump(*reply);
  return Dump({{"error", reply.error().ToString()}});
}

Result<Json> ScrubService::Answer(const Json& request) {
  try {
    if (!request.is_object()) {
      return MakeError(ErrorKind::kProtocol, "the request is not an object");
    }
    const std::string op = request.value("op", "");
    if (op == "volumes") return Volumes();
    if (op == "scrub") return Start(request);
    if (op == "scrub-poll") return Poll(request);
    if (op == "scrub-stop") {
      RETURN_IF_ERROR(jobs_.End(request.value("job", int64_t{0})));
      return Json{{"ok", true}};
    }
    return MakeError(ErrorKind::kProtocol, "no such operation: " + op);
  } catch (const Json::exception& e) {
    return MakeError(ErrorKind::kProtocol, e.what());
  }
}

Result<Json> ScrubService::Volumes() {
  Json names = Json::array();
  for (const replica::VolumeKey& key : store_.Volumes()) names.push_back(key.ToString());
  return Json{{"volumes", names}};
}

Result<Json> ScrubService::Start(const Json& request) {
  replica::ScrubOptions options;
  options.bytes_per_second = request.value("rate", uint64_t{0});
  options.resend_unknown = request.value("unknown", false);
  ASSIGN_OR_RETURN(const auto job, jobs_.Start(KeyOf(request.value("volume", "")), options));
  return Json{{"job", job}};
}

Result<Json> ScrubService::Poll(const Json& request) {
  ASSIGN_OR_RETURN(const replica::ScrubReport report,
                   jobs_.Report(request.value("job", int64_t{0}), request.value("skip", size_t{0}),
                                request.value("limit", size_t{0})));
  Json differences = Json::array();
  for (const replica::ScrubDifference& difference : report.differences) {
    differences.push_back({{"kind", difference.kind},
                           {"path", Printable(difference.path)},
                           {"what", difference.what}});
  }
  return Json{{"objects", report.objects},
              {"bytes", report.bytes},
              {"unknown_bytes", report.unknown_bytes},
              {"unknown_files", report.unknown_files},
              {"difference_count", report.difference_count},
              {"finished", report.finished},
              {"failure", report.error},
              {"differences", differences}};
}

Result<Json> AskStore(const std::string& store_path, const Json& request,
                      std::chrono::milliseconds patience) {
  const auto deadline = UnixConnection::Clock::now() + patience;
  const auto unreachable = [&](const Error& error) {
    return MakeError(ErrorKind::kUnreachable,
                     "ask the tandemd that has " + store_path + " (" + error.ToString() + ")");
  };
  const auto directory = OpenSocketDirectory(store_path);
  if (!directory) return unreachable(directory.error());
  const std::string path = SocketPathIn(*directory);
  if (access(path.c_str(), F_OK) != 0) {
    return unreachable(Error(ErrorKind::kSystem, errno, "find its control socket"));
  }
  auto connection = UnixConnection::Connect(path, deadline);
  if (!connection) return unreachable(connection.error());
  if (auto sent = connection->Send(Dump(request), deadline); !sent) {
    return unreachable(sent.error());
  }
  const auto answer = connection->Receive(kMaxAnswerBytes, deadline);
  if (!answer) return unreachable(answer.error());
  Json reply = Json::parse(*answer, nullptr, /*allow_exceptions=*/false);
  if (!reply.is_object()) {
    return MakeError(ErrorKind::kProtocol,
                     "the reply of the tandemd that has " + store_path + " is not a JSON object");
  }
  if (reply.contains("error") && reply["error"].is_string()) {
    return MakeError(ErrorKind::kRefused, reply["error"].get<std::string>());
  }
  return reply;
}

}  // namespace tandem::tools
