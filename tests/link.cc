#include "tests/link.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <utility>

namespace tandem::test {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kLookEveryMs = 20;

sockaddr_in AddressOf(uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}

UniqueFd Socket() {
  UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  // A link holds little; what waits belongs to the sender.
  const int buffer = 64 << 10;
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
  return fd;
}

bool IsReadable(int fd) {
  pollfd readable{fd, POLLIN, 0};
  return poll(&readable, 1, kLookEveryMs) > 0;
}

void Pause() { std::this_thread::sleep_for(std::chrono::milliseconds(kLookEveryMs)); }

}  // namespace

uint16_t Link::PortOf(const std::string& url) {
  return static_cast<uint16_t>(std::atoi(url.substr(url.rfind(':') + 1).c_str()));
}

Link::Link(const std::string& target) : target_port_(PortOf(target)), listener_(Socket()) {
  sockaddr_in address = AddressOf(0);
  socklen_t size = sizeof address;
  if (bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0 ||
      // One that waits fills the queue, and the kernel drops what comes then.
      listen(listener_.get(), 0) != 0 ||
      getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    std::abort();
  }
  url_ = "tcp://127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  thread_ = std::thread([this] { Accept(); });
}

Link::~Link() {
  stopping_ = true;
  thread_.join();
  Cut();
  MutexLock lock(mutex_);
  for (Pair& pair : pairs_) {
    pair.forth.join();
    pair.back.join();
  }
}

void Link::SetSilent(bool silent) {
  silent_ = silent;
  waiting_.clear();
  // More than fit, should one be accepted just now.
  for (int i = 0; silent && i < 4; ++i) {
    UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const sockaddr_in own = AddressOf(PortOf(url_));
    (void)connect(fd.get(), reinterpret_cast<const sockaddr*>(&own), sizeof own);
    waiting_.push_back(std::move(fd));
  }
}

void Link::Cut() {
  MutexLock lock(mutex_);
  for (Pair& pair : pairs_) {
    shutdown(pair.near.get(), SHUT_RDWR);
    shutdown(pair.far.get(), SHUT_RDWR);
  }
}

void Link::Accept() {
  while (!stopping_) {
    if (silent_) {
      Pause();
      continue;
    }
    if (!IsReadable(listener_.get()) || silent_) continue;
    UniqueFd near(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    UniqueFd far = Socket();
    const sockaddr_in target = AddressOf(target_port_);
    if (!near.valid() ||
        connect(far.get(), reinterpret_cast<const sockaddr*>(&target), sizeof target) != 0) {
      continue;
    }
    ++accepted_;
    MutexLock lock(mutex_);
    Reap();
    Pair& pair = pairs_.emplace_back();
    pair.near = std::move(near);
    pair.far = std::move(far);
    pair.number = static_cast<size_t>(accepted_ - 1);
    pair.forth = std::thread([this, &pair] { Carry(pair, true); });
    pair.back = std::thread([this, &pair] { Carry(pair, false); });
  }
}

void Link::Reap() {
  for (auto pair = pairs_.begin(); pair != pairs_.end();) {
    if (pair->ended < 2) {
      ++pair;
      continue;
    }
    pair->forth.join();
    pair->back.join();
    pair = pairs_.erase(pair);
  }
}

void Link::Record(size_t connection, bool forth, std::string_view bytes) {
  constexpr size_t kMostConnections = 8;
  constexpr size_t kMost = 4 << 20;
  if (connection >= kMostConnections) return;
  MutexLock lock(mutex_);
  auto& recorded = recorded_[forth ? 1 : 0];
  if (recorded.size() <= connection) recorded.resize(connection + 1);
  if (recorded[connection].size() < kMost) recorded[connection] += bytes;
}

std::string Link::Recorded(bool forth) const {
  MutexLock lock(mutex_);
  std::string longest;
  for (const std::string& recorded : recorded_[forth ? 1 : 0]) {
    if (recorded.size() > longest.size()) longest = recorded;
  }
  return longest;
}

void Link::SetFault(std::optional<Fault> fault) {
  MutexLock lock(mutex_);
  fault_ = fault;
}

size_t Link::Tamper(bool forth, uint64_t begin, char* bytes, size_t size) {
  MutexLock lock(mutex_);
  if (!fault_ || fault_->forth != forth || fault_->at < begin || fault_->at >= begin + size) {
    return size;
  }
  const Fault fault = *fault_;
  const size_t at = fault.at - begin;
  if (!fault.always) fault_.reset();
  ++struck_;
  if (fault.kind == Fault::Kind::kCut) return at;
  bytes[at] = static_cast<char>(bytes[at] ^ fault.mask);
  return size;
}

void Link::Carry(Pair& pair, bool forth) {
  const int from = forth ? pair.near.get() : pair.far.get();
  const int to = forth ? pair.far.get() : pair.near.get();
  std::vector<char> buffer(16 << 10);
  auto free_at = Clock::now();
  uint64_t passed = 0;
  while (!stopping_) {
    if (silent_) {
      Pause();
      continue;
    }
    if (!IsReadable(from)) continue;
    if (silent_) continue;
    const ssize_t got = recv(from, buffer.data(), buffer.size(), 0);
    if (got <= 0) break;
    const size_t size = static_cast<size_t>(got);
    const size_t passes = Tamper(forth, std::exchange(passed, passed + size), buffer.data(), size);
    for (size_t done = 0; done < passes;) {
      const ssize_t sent = send(to, buffer.data() + done, passes - done, MSG_NOSIGNAL);
      if (sent <= 0) break;
      done += static_cast<size_t>(sent);
    }
    if (passes < size) break;
    Record(pair.number, forth, {buffer.data(), size});
    if (!forth) continue;
    carried_ += static_cast<uint64_t>(got);
    const uint64_t rate = rate_;
    if (rate == 0) continue;
    const std::chrono::duration<double> takes(static_cast<double>(got) / static_cast<double>(rate));
    free_at = std::max(free_at, Clock::now()) + std::chrono::duration_cast<Clock::duration>(takes);
    std::this_thread::sleep_until(free_at);
  }
  shutdown(from, SHUT_RDWR);
  shutdown(to, SHUT_RDWR);
  ++pair.ended;
}

}  // namespace tandem::test
