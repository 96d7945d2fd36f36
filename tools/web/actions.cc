#include "tools/web/actions.h"

#include <algorithm>
#include <chrono>

#include "meta/base/log.h"
#include "replica/transport/token.h"
#include "tools/client_commands.h"
#include "tools/enrolment.h"

namespace tandem::tools {
namespace {

constexpr int kAnswerMs = 10'000;
constexpr size_t kMaxText = 2048;
constexpr int64_t kMaxIntervalMs = 3'600'000;
constexpr int64_t kMaxPauseMs = int64_t{365} * 24 * 3'600'000;
// A browser waits for so long; what is not on the replicas by then gets there without it.
constexpr std::chrono::seconds kSyncTime{20};
constexpr int kSyncSliceMs = 250;

tl::unexpected<Error> Bad(const char* key) {
  return MakeError(ErrorKind::kUsage, std::string(key) + " is missing, or has a wrong value");
}

bool IsText(const Json& action, const char* key) {
  const auto found = action.find(key);
  if (found == action.end() || !found->is_string()) return false;
  const std::string& text = found->get_ref<const std::string&>();
  const auto is_control = [](unsigned char c) { return c < 0x20 || c == 0x7f; };
  return !text.empty() && text.size() <= kMaxText && std::ranges::none_of(text, is_control);
}

// Each of these copies a value of the action into the request, and fails if it is not as it must
// be. What is optional may be missing.

Status CopyText(const Json& action, const char* key, Json& request) {
  if (!IsText(action, key)) return Bad(key);
  request[key] = action[key];
  return {};
}

Status CopyReplica(const Json& action, Json& request) {
  return action.contains("replica") ? CopyText(action, "replica", request) : Status();
}

Status CopyNumber(const Json& action, const char* key, int64_t most, Json& request) {
  const auto found = action.find(key);
  if (found == action.end() || !found->is_number_integer()) return Bad(key);
  const auto number = found->get<int64_t>();
  if (number < 0 || number > most) return Bad(key);
  request[key] = number;
  return {};
}

Status CopyFlag(const Json& action, const char* key, Json& request) {
  const auto found = action.find(key);
  if (found == action.end()) return {};
  if (!found->is_boolean()) return Bad(key);
  request[key] = *found;
  return {};
}

Status CopyPause(const Json& action, Json& request) {
  if (action.contains("for_ms")) {
    RETURN_IF_ERROR(CopyNumber(action, "for_ms", kMaxPauseMs, request));
  }
  return CopyReplica(action, request);
}

Status CopyInterval(const Json& action, Json& request) {
  request["op"] = "set";
  return CopyNumber(action, "interval_ms", kMaxIntervalMs, request);
}

Status CopyBandwidth(const Json& action, Json& request) {
  request["op"] = "set";
  RETURN_IF_ERROR(CopyText(action, "replica", request));
  return CopyText(action, "bwlimit", request);
}

Status CopyVerify(const Json& action, Json& request) {
  RETURN_IF_ERROR(CopyFlag(action, "full", request));
  RETURN_IF_ERROR(CopyFlag(action, "repair", request));
  return CopyReplica(action, request);
}

// Returns a function that copies two texts; only the first if there is no second.
auto CopyTexts(const char* first, const char* second = nullptr) {
  return [first, second](const Json& action, Json& request) -> Status {
    RETURN_IF_ERROR(CopyText(action, first, request));
    return second == nullptr ? Status() : CopyText(action, second, request);
  };
}

struct Operation {
  std::string_view op;
  std::function<Status(const Json& action, Json& request)> copy;
  const char* said;
};

const std::vector<Operation>& Operations() {
  static const std::vector<Operation> operations = {
      {"pause", CopyPause, "Paused: nothing is sent; changes are still captured."},
      {"resume", CopyReplica, "Replication goes on."},
      {"sync", CopyReplica, "In sync: all that was changed before is on the replicas."},
      {"interval", CopyInterval, "The interval is set."},
      {"bandwidth", CopyBandwidth, "The bandwidth limit is set."},
      {"verify", CopyVerify, "The verify has begun."},
      {"replica-add", CopyTexts("name", "url"), "The replica is added."},
      {"replica-remove", CopyTexts("name"), "The replica is removed from this mount."},
      {"replica-rename", CopyTexts("name", "to"), "The replica is renamed."},
      {"replica-set-url", CopyTexts("name", "url"), "The replica has its new address."},
  };
  return operations;
}

const Operation* FindOperation(const std::string& op) {
  const auto found = std::ranges::find(Operations(), op, &Operation::op);
  return found == Operations().end() ? nullptr : &*found;
}

Status Flush(const std::string& socket) {
  return FlushMount(socket, std::chrono::steady_clock::now() + kSyncTime);
}

// tools/enrolment.h names a replica that was given no name likewise.
std::string NameOf(const std::string& url) { return url.substr(url.find("://") + 3); }

}  // namespace

Result<Json> ControlRequestOf(const Json& action) {
  if (!IsText(action, "op")) return Bad("op");
  const std::string op = action["op"];
  const Operation* const operation = FindOperation(op);
  if (operation == nullptr) return MakeError(ErrorKind::kUsage, "there is no action " + op);
  Json request = {{"op", op}};
  RETURN_IF_ERROR(operation->copy(action, request));
  return request;
}

Result<std::string> EnrolOverNetwork(const std::string& token) {
  ASSIGN_OR_RETURN(const replica::Token parsed, replica::ParseToken(token));
  // In this process: it never forks, so nng may be used here.
  return Enrol(parsed, HostKeys(), AskOverNetwork);
}

Result<Json> Actions::Perform(const Json& action) {
  if (!IsText(action, "mount")) return Bad("mount");
  const std::string mount = action["mount"];
  ASSIGN_OR_RETURN(const std::string socket, hub_.SocketOf(mount));
  const std::string op = action.value("op", "");
  LogInfo("web: {} of the mount at {}", op, socket);
  if (op == "verify-stop") {
    Json number;
    RETURN_IF_ERROR(CopyNumber(action, "job", INT64_MAX, number));
    RETURN_IF_ERROR(hub_.verifies().Stop(mount, number["job"].get<int64_t>()));
    hub_.Refresh();
    return Json{{"said", "The verify has ended."}};
  }
  if (op == "replica-add" && action.contains("token")) return Add(socket, action);
  ASSIGN_OR_RETURN(const Json request, ControlRequestOf(action));
  if (op == "sync") return Sync(socket, request);
  if (op == "verify") {
    RETURN_IF_ERROR(Flush(socket));
    RETURN_IF_ERROR(hub_.verifies().Start(mount, socket, request));
  } else {
    ASSIGN_OR_RETURN(const Json reply, AskControl(socket, request, kAnswerMs));
    (void)reply;
  }
  hub_.Refresh();
  return Json{{"said", FindOperation(op)->said}};
}

Result<Json> Actions::Add(const std::string& socket, const Json& action) {
  const Json& token = action["token"];
  if (!token.is_string() || token.get_ref<const std::string&>().size() > replica::kMaxTokenBytes) {
    return Bad("token");
  }
  ASSIGN_OR_RETURN(const std::string url, enrol_(token.get<std::string>()));
  const std::string name = IsText(action, "name") ? action["name"].get<std::string>() : NameOf(url);
  const auto reply =
      AskControl(socket, {{"op", "replica-add"}, {"name", name}, {"url", url}}, kAnswerMs);
  if (!reply) {
    return MakeError(reply.error().kind(),
                     "this host is paired with " + url +
                         " now, but the replica could not be added: " + reply.error().ToString());
  }
  hub_.Refresh();
  return Json{{"said", "This host is paired with " + url + ", and the replica is added."}};
}

Result<Json> Actions::Sync(const std::string& socket, Json request) {
  const auto deadline = Hub::Clock::now() + kSyncTime;
  RETURN_IF_ERROR(Flush(socket));
  ASSIGN_OR_RETURN(const Json newest, AskControl(socket, {{"op", "newest"}}, kAnswerMs));
  request["epoch"] = newest.value("epoch", uint64_t{0});
  request["timeout_ms"] = kSyncSliceMs;
  while (true) {
    auto reply = AskControl(socket, request, kAnswerMs);
    if (reply) break;
    const ErrorKind kind = reply.error().kind();
    const bool in_vain =
        kind == ErrorKind::kUsage || kind == ErrorKind::kUnreachable || kind == ErrorKind::kGivenUp;
    if (in_vain) return tl::unexpected<Error>(std::move(reply.error()));
    if (Hub::Clock::now() >= deadline || hub_.is_stopping()) {
      return MakeError(ErrorKind::kRefused,
                       "not in sync after 20 seconds, it goes on: " + reply.error().ToString());
    }
  }
  hub_.Refresh();
  return Json{{"said", FindOperation("sync")->said}};
}

Result<Json> Actions::History(const std::string& mount) {
  ASSIGN_OR_RETURN(const std::string socket, hub_.SocketOf(mount));
  return AskControl(socket, {{"op", "history"}}, kAnswerMs);
}

}  // namespace tandem::tools
