// slow_link LISTEN_PORT TARGET_PORT KIB_PER_SECOND [DELAY_MS]: carries TCP connections to
// 127.0.0.1:LISTEN_PORT on to TARGET_PORT, there not faster than told, back as fast as it goes.
// With a delay both directions are that slow, and each byte arrives so much later. SIGUSR1: from
// now on as fast as it goes in both directions; SIGUSR2: slow again. Runs until it is killed.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

std::atomic<bool> slow{true};

[[noreturn]] void Fail(const char* what) {
  std::perror(what);
  std::exit(EXIT_FAILURE);
}

sockaddr_in AddressOf(const char* port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(std::atoi(port)));
  return address;
}

int Socket() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) Fail("socket");
  // A link holds little; what waits belongs to the sender.
  const int buffer = 64 << 10;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
  const int yes = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  return fd;
}

bool SendAll(int to, const char* bytes, size_t count) {
  for (size_t done = 0; done < count;) {
    const ssize_t sent = send(to, bytes + done, count - done, 0);
    if (sent <= 0) return false;
    done += static_cast<size_t>(sent);
  }
  return true;
}

// What has been taken from one side and is still on its way.
class Flight {
 public:
  void Add(std::vector<char> bytes, Clock::time_point arrives) {
    const std::lock_guard lock(mutex_);
    under_way_.emplace_back(arrives, std::move(bytes));
    wake_.notify_all();
  }
  // Delivers until an empty piece arrives, or the other side is gone.
  void Deliver(int to) {
    while (true) {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return !under_way_.empty(); });
      auto [arrives, bytes] = std::move(under_way_.front());
      under_way_.pop_front();
      lock.unlock();
      if (bytes.empty()) return;
      if (slow) std::this_thread::sleep_until(arrives);
      if (!SendAll(to, bytes.data(), bytes.size())) return;
    }
  }

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::pair<Clock::time_point, std::vector<char>>> under_way_;
};

// Until one side closes; then both are.
void CarryLate(int from, int to, double bytes_per_second, Clock::duration delay) {
  Flight flight;
  std::thread delivery([&flight, to] { flight.Deliver(to); });
  std::vector<char> buffer(16 << 10);
  auto free_at = Clock::now();
  for (ssize_t got = 0; (got = recv(from, buffer.data(), buffer.size(), 0)) > 0;) {
    const std::chrono::duration<double> takes(static_cast<double>(got) / bytes_per_second);
    free_at = std::max(free_at, Clock::now());
    if (slow) free_at += std::chrono::duration_cast<Clock::duration>(takes);
    std::this_thread::sleep_until(free_at);
    flight.Add({buffer.begin(), buffer.begin() + got}, free_at + delay);
  }
  flight.Add({}, Clock::now());
  delivery.join();
  shutdown(from, SHUT_RDWR);
  shutdown(to, SHUT_RDWR);
}

// Until one side closes; then both are.
void Carry(int from, int to, double bytes_per_second) {
  std::vector<char> buffer(16 << 10);
  auto free_at = Clock::now();
  for (ssize_t got = 0; (got = recv(from, buffer.data(), buffer.size(), 0)) > 0;) {
    if (!SendAll(to, buffer.data(), static_cast<size_t>(got))) break;
    if (bytes_per_second <= 0 || !slow) continue;
    free_at = std::max(free_at, Clock::now()) +
              std::chrono::duration_cast<Clock::duration>(
                  std::chrono::duration<double>(static_cast<double>(got) / bytes_per_second));
    std::this_thread::sleep_until(free_at);
  }
  shutdown(from, SHUT_RDWR);
  shutdown(to, SHUT_RDWR);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4 && argc != 5) {
    std::fprintf(stderr, "usage: slow_link LISTEN_PORT TARGET_PORT KIB_PER_SECOND [DELAY_MS]\n");
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  signal(SIGUSR1, [](int) { slow = false; });
  signal(SIGUSR2, [](int) { slow = true; });
  const double rate = std::atof(argv[3]) * 1024;
  const std::chrono::milliseconds delay(argc == 5 ? std::atoi(argv[4]) : 0);
  const sockaddr_in listen_at = AddressOf(argv[1]);
  const sockaddr_in target = AddressOf(argv[2]);
  const int listener = Socket();
  if (bind(listener, reinterpret_cast<const sockaddr*>(&listen_at), sizeof listen_at) != 0 ||
      listen(listener, 16) != 0) {
    Fail("listen");
  }
  while (true) {
    const int near = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (near < 0) continue;  // a signal
    const int far = Socket();
    if (connect(far, reinterpret_cast<const sockaddr*>(&target), sizeof target) != 0) {
      close(near);
      close(far);
      continue;
    }
    std::thread([near, far, rate, delay] {
      if (delay.count() > 0) {
        std::thread back([=] { CarryLate(far, near, rate, delay); });
        CarryLate(near, far, rate, delay);
        back.join();
      } else {
        std::thread back([near, far] { Carry(far, near, 0); });
        Carry(near, far, rate);
        back.join();
      }
      close(near);
      close(far);
    }).detach();
  }
}
