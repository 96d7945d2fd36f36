// One run of the system's ssh client, whose standard input and output are a connected socket: ssh
// carries the bytes itself. It ends when the other end of that socket is closed, and so also when
// this process is killed.
//
// Used by one thread. It waits for its own process only, so the program may have other children.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "meta/base/result.h"
#include "meta/base/unique_fd.h"
#include "replica/transport/ssh_url.h"

namespace tandem::replica {

class SshProcess {
 public:
  // Runs `tandemd relay` on the other host. The program is ssh, or what TANDEM_SSH in the
  // environment names: a path, or a name to be looked up in PATH; it is given ssh's arguments.
  static Result<std::unique_ptr<SshProcess>> Start(const SshUrl& url, const UniqueFd& connection);
  // Ends ssh, and whatever it has started (a ProxyCommand), and waits for it.
  ~SshProcess();
  SshProcess(const SshProcess&) = delete;

  int pidfd() const { return pidfd_.get(); }    // readable once ssh has ended
  int errors() const { return errors_.get(); }  // readable if ssh has written on stderr
  // Reads what there is. Returns false at the end.
  bool ReadErrors();
  // The last of what ssh has written on stderr.
  const std::string& said() const { return said_; }
  // Returns the exit code, or -1 if there is none, of an ssh that has ended.
  int Reap();
  std::chrono::steady_clock::duration age() const {
    return std::chrono::steady_clock::now() - started_;
  }

 private:
  SshProcess(pid_t pid, UniqueFd pidfd, UniqueFd errors)
      : pid_(pid), pidfd_(std::move(pidfd)), errors_(std::move(errors)) {}
  bool Ends(std::chrono::milliseconds patience) const;

  pid_t pid_;  // 0 once reaped
  UniqueFd pidfd_;
  UniqueFd errors_;
  std::string said_;
  const std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
};

// The arguments, the program's name first. Public for tests.
std::vector<std::string> SshArguments(const SshUrl& url);

}  // namespace tandem::replica
