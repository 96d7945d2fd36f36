// Leads connections of this process through the system's ssh client to the tandemd of another host
// (replica/transport/SSH.md). It listens on a private socket. Each connection made to that socket
// is handed to an ssh of its own; this process copies nothing. There is one connection at a time: a
// new one ends the one before it.
//
// If ssh ends, the next one waits for 1, 2, 4 ... seconds: up to 2 if the network or the other host
// may come back by itself, up to 30 if a person has to help. Any thread may call it.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <thread>

#include "meta/base/mutex.h"
#include "replica/transport/private_listener.h"
#include "replica/transport/ssh_complaint.h"
#include "replica/transport/ssh_process.h"
#include "replica/transport/ssh_url.h"

namespace tandem::replica {

class SshTunnel {
 public:
  // Does not start ssh: the first connection does.
  static Result<std::unique_ptr<SshTunnel>> Open(const SshUrl& url);
  // Ends ssh. Takes up to two seconds if ssh does not react.
  ~SshTunnel();

  // Returns the URL to dial, ipc://...
  std::string local_url() const { return "ipc://" + listener_.path(); }
  // Returns, in one line, why the last ssh ended; an empty string if none has.
  std::string Trouble() EXCLUDES(mutex_);

 private:
  using Clock = std::chrono::steady_clock;

  SshTunnel(SshUrl url, PrivateListener listener, UniqueFd stop);
  void Run();
  int WaitForMs() const;
  void Accept();
  void StartSsh();
  void NoteEnd();
  void BackOff(SshComplaint complaint) EXCLUDES(mutex_);

  const SshUrl url_;
  const UniqueFd stop_;  // an eventfd
  PrivateListener listener_;
  // The thread's own.
  std::unique_ptr<SshProcess> ssh_;
  UniqueFd waiting_;  // a connection without an ssh
  Clock::time_point not_before_{};
  Clock::time_point accept_again_{};
  int failures_ = 0;

  Mutex mutex_;
  std::string trouble_ GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace tandem::replica
