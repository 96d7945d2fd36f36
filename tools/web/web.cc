#include "tools/web/web.h"

#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>

#include "meta/base/log.h"
#include "meta/base/unique_fd.h"
#include "tools/mount_survey.h"
#include "tools/print.h"
#include "tools/web/hub.h"
#include "tools/web/page_server.h"
#include "tools/web/tandem_site.h"
#include "tools/web/web_session.h"

namespace tandem::tools {
namespace {

// Blocks the signals that end or ask this program, and returns a descriptor to read them from. The
// threads that are started later inherit that.
Result<UniqueFd> TakeSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGUSR1}) sigaddset(&signals, signal);
  if (sigprocmask(SIG_BLOCK, &signals, nullptr) != 0) return ErrnoError("block signals");
  UniqueFd fd(signalfd(-1, &signals, SFD_CLOEXEC));
  if (!fd.valid()) return ErrnoError("make a signalfd");
  return fd;
}

Status PrintLink(WebSessions& sessions, const ListenAddress& address) {
  ASSIGN_OR_RETURN(const std::string key, sessions.NewKey());
  PrintLine("http://{}/login?key={}", ToUrlHost(address), key);
  return FlushOutput();
}

enum class Wish { kLink, kEnd, kNoMoreInput };

// Waits until the user wants something. `terminal` is stdin, or -1.
Result<Wish> AwaitWish(int signals, int terminal) {
  pollfd wanted[] = {{signals, POLLIN, 0}, {terminal, POLLIN, 0}};
  while (poll(wanted, std::size(wanted), -1) < 0) {
    if (errno != EINTR) return ErrnoError("wait for a signal");
  }
  if (wanted[0].revents != 0) {
    signalfd_siginfo info;
    if (read(signals, &info, sizeof info) != sizeof info) return ErrnoError("read a signal");
    return info.ssi_signo == SIGUSR1 ? Wish::kLink : Wish::kEnd;
  }
  char line[256];
  return read(terminal, line, sizeof line) > 0 ? Wish::kLink : Wish::kNoMoreInput;
}

Result<int> Run(const UniqueFd& signals, WebSessions& sessions, const ListenAddress& address) {
  RETURN_IF_ERROR(PrintLink(sessions, address));
  int terminal = isatty(STDIN_FILENO) != 0 ? STDIN_FILENO : -1;
  if (terminal >= 0) {
    Complain("tandem",
             "open this link in a browser on this host. Enter prints another one, Ctrl-C "
             "ends the page");
  }
  while (true) {
    ASSIGN_OR_RETURN(const Wish wish, AwaitWish(signals.get(), terminal));
    if (wish == Wish::kEnd) return EXIT_SUCCESS;
    if (wish == Wish::kNoMoreInput) terminal = -1;
    if (wish == Wish::kLink) RETURN_IF_ERROR(PrintLink(sessions, address));
  }
}

}  // namespace

Result<int> RunWeb(const WebOptions& options) {
  ASSIGN_OR_RETURN(const ListenAddress asked, ParseListenAddress(options.listen));
  ASSIGN_OR_RETURN(const UniqueFd signals, TakeSignals());
  Hub::FindMounts find = SurveyMounts;
  if (!options.sockets.empty()) {
    find = [directory = options.sockets] { return MountsBySockets(directory); };
  }
  WebSessions sessions;
  Hub hub(std::move(find));
  ASSIGN_OR_RETURN(auto server, PageServer::Listen(asked));
  TandemSite site(server->address(), sessions, hub);
  server->Serve(site);
  auto result = Run(signals, sessions, server->address());
  hub.Stop();      // ends the streams, for which the server waits
  server.reset();  // it uses the site
  return result;
}

}  // namespace tandem::tools
