#include "tools/enrol_replicas.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <charconv>
#include <csignal>

#include "meta/base/log.h"
#include "meta/base/unique_fd.h"

namespace tandem::tools {
namespace {

// ---- What the child tells: "KIND CODE\n" and the answer, or the error's context. KIND is -1 if
// there is an answer. ----------------------------------------------------------------------------

constexpr int kAnswered = -1;

std::string ToText(const Result<std::string>& answer) {
  if (answer) return std::to_string(kAnswered) + " 0\n" + *answer;
  const Error& error = answer.error();
  return std::to_string(static_cast<int>(error.kind())) + " " + std::to_string(error.code()) +
         "\n" + error.context();
}

Result<std::string> FromText(const std::string& text) {
  int kind = 0;
  int code = 0;
  const char* const end = text.data() + text.size();
  const auto after_kind = std::from_chars(text.data(), end, kind);
  const bool goes_on = after_kind.ec == std::errc() && after_kind.ptr != end;
  const auto after_code = std::from_chars(goes_on ? after_kind.ptr + 1 : end, end, code);
  if (!goes_on || after_code.ec != std::errc() || after_code.ptr == end) {
    return MakeError(ErrorKind::kSystem, "ask tandemd (the process that asked has died)", EPIPE);
  }
  std::string rest(after_code.ptr + 1, end);
  if (kind == kAnswered) return rest;
  return MakeError(static_cast<ErrorKind>(kind), std::move(rest), code);
}

void WriteAll(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(fd, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;
    text.remove_prefix(static_cast<size_t>(written));
  }
}

std::string ReadAll(int fd) {
  std::string text;
  for (;;) {
    char buffer[4096];
    const ssize_t got = read(fd, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return text;
    text.append(buffer, static_cast<size_t>(got));
  }
}

}  // namespace

Result<std::string> AskInChild(const std::string& url, const replica::Credentials& credentials,
                               std::string request) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return ErrnoError("make a pipe");
  const UniqueFd from_child(ends[0]);
  UniqueFd to_parent(ends[1]);
  const pid_t child = fork();
  if (child < 0) return ErrnoError("start a process that asks " + url);
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    WriteAll(to_parent.get(), ToText(AskOverNetwork(url, credentials, std::move(request))));
    _exit(0);
  }
  to_parent.Reset();
  const std::string text = ReadAll(from_child.get());
  while (waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  return FromText(text);
}

Status EnrolReplicas(std::vector<ReplicaArgument>& replicas, const HostKeys& keys,
                     const AskDaemon& ask) {
  bool any = false;
  for (ReplicaArgument& replica : replicas) {
    if (!replica.url.starts_with('@')) continue;
    any = true;
    ASSIGN_OR_RETURN(const replica::Token token, ReadToken(replica.url.substr(1)));
    ASSIGN_OR_RETURN(replica.url, Enrol(token, keys, ask));
    if (replica.name.empty()) replica.name = replica.url.substr(replica.url.find("://") + 3);
    LogInfo("replica {} is {}", replica.name, replica.url);
  }
  return any ? CheckReplicas(replicas) : Status();
}

}  // namespace tandem::tools
