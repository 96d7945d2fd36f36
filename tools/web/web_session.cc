#include "tools/web/web_session.h"

#include <algorithm>

#include "meta/base/hex.h"
#include "replica/transport/certificates.h"

namespace tandem::tools {
namespace {

constexpr size_t kSecretBytes = 32;

Result<std::string> NewSecret() {
  ASSIGN_OR_RETURN(const std::string bytes, replica::RandomBytes(kSecretBytes));
  return ToHex(bytes);
}

}  // namespace

Result<std::string> WebSessions::NewKey(Clock::time_point now) {
  ASSIGN_OR_RETURN(std::string key, NewSecret());
  MutexLock lock(mutex_);
  key_ = key;
  key_ends_ = now + kKeyLifetime;
  return key;
}

Result<WebSessions::Secrets> WebSessions::LogIn(std::string_view key, Clock::time_point now) {
  Secrets secrets;
  ASSIGN_OR_RETURN(secrets.cookie, NewSecret());
  ASSIGN_OR_RETURN(secrets.token, NewSecret());
  MutexLock lock(mutex_);
  if (key_.empty() || now >= key_ends_ || !replica::SameSecret(key, key_)) {
    return MakeError(ErrorKind::kRefused,
                     "this link has been used, has been replaced by a newer one, or is older than "
                     "15 minutes. Press Enter in the terminal where tandem web runs: it prints a "
                     "new one");
  }
  key_.clear();
  while (sessions_.size() >= kMostSessions) {
    sessions_.erase(std::ranges::min_element(sessions_, {}, &Session::used));
  }
  sessions_.push_back({secrets, now});
  return secrets;
}

std::list<WebSessions::Session>::iterator WebSessions::Find(std::string_view cookie,
                                                            std::string_view token) {
  return std::ranges::find_if(sessions_, [&](const Session& session) {
    const bool same_cookie = replica::SameSecret(cookie, session.secrets.cookie);
    const bool same_token = replica::SameSecret(token, session.secrets.token);
    return same_cookie && same_token;
  });
}

bool WebSessions::IsValid(std::string_view cookie, std::string_view token, Clock::time_point now) {
  MutexLock lock(mutex_);
  std::erase_if(sessions_,
                [now](const Session& session) { return now >= session.used + kIdleLifetime; });
  const auto session = Find(cookie, token);
  if (session == sessions_.end()) return false;
  session->used = now;
  return true;
}

void WebSessions::LogOut(std::string_view cookie, std::string_view token) {
  MutexLock lock(mutex_);
  if (const auto session = Find(cookie, token); session != sessions_.end()) {
    sessions_.erase(session);
  }
}

}  // namespace tandem::tools
