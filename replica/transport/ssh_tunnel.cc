#include "replica/transport/ssh_tunnel.h"

#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "meta/base/log.h"
#include "replica/transport/tuning.h"

namespace tandem::replica {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr short kOnlyHangUp = 0;

}  // namespace

Result<std::unique_ptr<SshTunnel>> SshTunnel::Open(const SshUrl& url) {
  ASSIGN_OR_RETURN(PrivateListener listener, PrivateListener::Make());
  UniqueFd stop(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!stop.valid()) return ErrnoError("prepare ssh to " + url.ToString());
  return std::unique_ptr<SshTunnel>(new SshTunnel(url, std::move(listener), std::move(stop)));
}

SshTunnel::SshTunnel(SshUrl url, PrivateListener listener, UniqueFd stop)
    : url_(std::move(url)), stop_(std::move(stop)), listener_(std::move(listener)) {
  thread_ = std::thread([this] { Run(); });
}

SshTunnel::~SshTunnel() {
  eventfd_write(stop_.get(), 1);
  thread_.join();
}

std::string SshTunnel::Trouble() {
  MutexLock lock(mutex_);
  return trouble_;
}

int SshTunnel::WaitForMs() const {
  auto until = Clock::time_point::max();
  if (waiting_.valid()) until = not_before_;
  if (accept_again_ != Clock::time_point()) until = std::min(until, accept_again_);
  if (until == Clock::time_point::max()) return -1;
  const auto left = std::chrono::ceil<milliseconds>(until - Clock::now());
  return static_cast<int>(std::max<int64_t>(left.count(), 0));
}

void SshTunnel::Run() {
  while (true) {
    const bool accepts = accept_again_ == Clock::time_point();
    // poll leaves out descriptors below 0.
    std::array<pollfd, 5> watched = {{
        {stop_.get(), POLLIN, 0},
        {accepts ? listener_.fd() : -1, POLLIN, 0},
        {waiting_.get(), kOnlyHangUp, 0},
        {ssh_ == nullptr ? -1 : ssh_->pidfd(), POLLIN, 0},
        {ssh_ == nullptr ? -1 : ssh_->errors(), POLLIN, 0},
    }};
    const int ready = poll(watched.data(), watched.size(), WaitForMs());
    if (ready < 0 && errno != EINTR) LogError("poll for ssh: {}", errno);
    if (ready < 0) continue;
    if (watched[0].revents != 0) break;
    if (watched[4].revents != 0) ssh_->ReadErrors();
    if (watched[3].revents != 0) NoteEnd();
    if (watched[2].revents != 0) waiting_.Reset();
    if (Clock::now() >= accept_again_) accept_again_ = {};
    if (watched[1].revents != 0) Accept();
    if (waiting_.valid() && Clock::now() >= not_before_) StartSsh();
  }
  ssh_.reset();
}

void SshTunnel::Accept() {
  auto connection = listener_.Accept();
  if (!connection) {
    LogWarning("{}", connection.error().ToString());
    accept_again_ = Clock::now() + kAcceptPause;
    return;
  }
  if (!connection->valid()) return;
  waiting_ = std::move(*connection);
  if (ssh_ == nullptr) return;
  // Whoever dials again has given up the connection before.
  if (const auto age = std::chrono::duration_cast<seconds>(ssh_->age()); age >= kSshIsSilent) {
    MutexLock lock(mutex_);
    trouble_ =
        url_.ToString() + ": nothing came through ssh: is the host running, and the network?";
  }
  ssh_.reset();
}

void SshTunnel::StartSsh() {
  auto started = SshProcess::Start(url_, waiting_);
  waiting_.Reset();
  if (started) {
    ssh_ = std::move(*started);
  } else {
    BackOff({started.error().ToString(), true});
  }
}

void SshTunnel::NoteEnd() {
  ssh_->ReadErrors();
  if (ssh_->age() >= kSshHasWorked) failures_ = 0;
  const int code = ssh_->Reap();
  BackOff(ExplainSsh(url_, ssh_->said(), code));
  ssh_.reset();
}

void SshTunnel::BackOff(SshComplaint complaint) {
  const seconds most = complaint.refused ? kSshPauseIfRefused : kSshPauseLongest;
  constexpr int kMostDoublings = 5;
  not_before_ = Clock::now() + std::min(most, kSshPauseFirst * (1 << failures_));
  failures_ = std::min(failures_ + 1, kMostDoublings);
  MutexLock lock(mutex_);
  if (trouble_ != complaint.text) LogInfo("{}", complaint.text);
  trouble_ = std::move(complaint.text);
}

}  // namespace tandem::replica
