// What the web page's server answers: the page's files to everybody, everything else only to
// requests of its own page with the two secrets of a session (web_session.h).
//
//   GET  /, /login, /style.css, ...   the page's files
//   POST /api/login   {"key"} -> {"token"} and the cookie
//   POST /api/logout
//   GET  /api/events                  server-sent events: a snapshot (hub.h) each
//   GET  /api/history?mount=ID        the op "history" of a mount
//   POST /api/act     an action (actions.h) -> {"said"}
// What fails is answered with {"error"}, a sentence.
//
// Any thread.
#pragma once

#include <atomic>

#include "tools/web/actions.h"
#include "tools/web/hub.h"
#include "tools/web/page_server.h"
#include "tools/web/web_session.h"

namespace tandem::tools {

class TandemSite : public Site {
 public:
  // All are borrowed, and outlive it. `address` is where the server listens.
  TandemSite(const ListenAddress& address, WebSessions& sessions, Hub& hub)
      : host_check_(address),
        cookie_name_("tandem_" + std::to_string(address.port)),
        sessions_(sessions),
        hub_(hub),
        actions_(hub) {}

  std::optional<HttpResponse> Refuse(const HttpRequest& request) override;
  HttpResponse Handle(const HttpRequest& request) override;

 private:
  std::string CookieOf(const HttpRequest& request) const;
  bool IsOfSession(const HttpRequest& request);
  HttpResponse Dispatch(const HttpRequest& request);
  HttpResponse LogIn(const HttpRequest& request);
  HttpResponse LogOut(const HttpRequest& request);
  HttpResponse Events(const HttpRequest& request);

  const HostCheck host_check_;
  const std::string cookie_name_;  // cookies of several ports are sent together
  WebSessions& sessions_;
  Hub& hub_;
  Actions actions_;
  std::atomic<int> streams_{0};
};

}  // namespace tandem::tools
