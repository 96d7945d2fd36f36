// Sends libfuse's messages to our log. libfuse has one log function for the whole process, and
// reports only there why a session could not be created or mounted. SessionErrors catches such
// messages, so that they become part of the Error that is returned.
#pragma once

#include <string>

namespace tandem::fs {

// Called once, before the first session. Any thread.
void RedirectSessionLog();

// While it lives, collects the errors that libfuse reports in this thread, instead of logging them.
// At most one per thread.
class SessionErrors {
 public:
  SessionErrors();
  ~SessionErrors();
  SessionErrors(const SessionErrors&) = delete;
  SessionErrors& operator=(const SessionErrors&) = delete;

  void Add(const char* text) { text_ += text; }
  // Returns them as one line, or "no reason given".
  std::string Text() const;

 private:
  std::string text_;
};

}  // namespace tandem::fs
