// Who may use the web page. A login link has a key that works once, within 15 minutes. It gives a
// session two secrets, and each request must have both: a cookie, which scripts cannot read, and a
// token, which the page's script sends as a header. Another site's page can make the browser send
// the cookie, but does not know the token. Another server on 127.0.0.1 is sent the cookie by the
// browser (cookies know no ports), but does not get the token, which the browser keeps by origin.
//
// Nothing is stored on disk: all sessions end with the process. Any thread.
#pragma once

#include <chrono>
#include <list>
#include <optional>
#include <string>
#include <string_view>

#include "meta/base/mutex.h"
#include "meta/base/result.h"

namespace tandem::tools {

class WebSessions {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::minutes kKeyLifetime{15};
  // A session ends if it is not used for so long.
  static constexpr std::chrono::hours kIdleLifetime{12};
  // One more ends the one that was not used for longest.
  static constexpr size_t kMostSessions = 16;

  struct Secrets {
    std::string cookie;
    std::string token;
  };

  // Returns the key of a new login link. Links given out before no longer work.
  Result<std::string> NewKey(Clock::time_point now = Clock::now());
  // Begins a session. Fails with kRefused if the key is not, or no longer, good.
  Result<Secrets> LogIn(std::string_view key, Clock::time_point now = Clock::now());
  // Returns whether both secrets are of one session that has not ended. It counts as used then.
  bool IsValid(std::string_view cookie, std::string_view token,
               Clock::time_point now = Clock::now());
  void LogOut(std::string_view cookie, std::string_view token);

 private:
  struct Session {
    Secrets secrets;
    Clock::time_point used;
  };
  std::list<Session>::iterator Find(std::string_view cookie, std::string_view token)
      REQUIRES(mutex_);

  Mutex mutex_;
  std::string key_ GUARDED_BY(mutex_);  // empty: none is good
  Clock::time_point key_ends_ GUARDED_BY(mutex_);
  std::list<Session> sessions_ GUARDED_BY(mutex_);
};

}  // namespace tandem::tools
