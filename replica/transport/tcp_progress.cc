#include "replica/transport/tcp_progress.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstddef>
#include <cstdlib>
#include <memory>

namespace tandem::replica {
namespace {

// Returns 0 if the address has no port.
uint16_t PortOf(const sockaddr_storage& address) {
  if (address.ss_family == AF_INET) {
    return ntohs(reinterpret_cast<const sockaddr_in&>(address).sin_port);
  }
  if (address.ss_family == AF_INET6) {
    return ntohs(reinterpret_cast<const sockaddr_in6&>(address).sin6_port);
  }
  return 0;
}

}  // namespace

void TcpProgress::Follow(uint16_t local_port, uint16_t remote_port) {
  MutexLock lock(mutex_);
  local_port_ = local_port;
  remote_port_ = remote_port;
  fd_ = -1;
}

std::optional<uint64_t> TcpProgress::Bytes() {
  MutexLock lock(mutex_);
  if (local_port_ == 0) return std::nullopt;
  if (fd_ < 0 || !IsOurConnection(fd_)) fd_ = Find();
  tcp_info info = {};
  socklen_t size = sizeof info;
  if (fd_ < 0 || getsockopt(fd_, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return std::nullopt;
  // Kernels before 4.1 do not count bytes.
  if (size < offsetof(tcp_info, tcpi_bytes_received) + sizeof info.tcpi_bytes_received) {
    return std::nullopt;
  }
  return info.tcpi_bytes_acked + info.tcpi_bytes_received;
}

bool TcpProgress::IsOurConnection(int fd) const {
  sockaddr_storage address = {};
  socklen_t size = sizeof address;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return false;
  if (PortOf(address) != local_port_) return false;
  size = sizeof address;
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return false;
  return PortOf(address) == remote_port_;
}

int TcpProgress::Find() const {
  const std::unique_ptr<DIR, int (*)(DIR*)> descriptors(opendir("/proc/self/fd"), &closedir);
  if (descriptors == nullptr) return -1;
  while (const dirent* entry = readdir(descriptors.get())) {
    if (entry->d_name[0] == '.') continue;
    const int fd = std::atoi(entry->d_name);
    if (IsOurConnection(fd)) return fd;
  }
  return -1;
}

}  // namespace tandem::replica
