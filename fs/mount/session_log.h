// What libfuse has to say goes to our log. It speaks through one function for the whole process,
// and says why a session could not be made or mounted in no other way: SessionErrors catches that,
// so that it becomes part of the Error returned instead.
#pragma once

#include <string>

namespace tandem::fs {

// Once, before the first session. Any thread.
void RedirectSessionLog();

// While it lives, errors that libfuse reports in this thread are kept instead of logged. One at a
// time in a thread.
class SessionErrors {
 public:
  SessionErrors();
  ~SessionErrors();
  SessionErrors(const SessionErrors&) = delete;
  SessionErrors& operator=(const SessionErrors&) = delete;

  void Add(const char* text) { text_ += text; }
  // As one line, or "no reason given".
  std::string Text() const;

 private:
  std::string text_;
};

}  // namespace tandem::fs
