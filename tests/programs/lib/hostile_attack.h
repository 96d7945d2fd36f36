// What the modes of hostile_client share: the connections they make, and what they count. Header
// only, since programs/lib knows nothing of the project's messages. One thread.
#pragma once

#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "replica/wire/messages.h"
#include "tests/programs/lib/hostile_link.h"
#include "tests/programs/lib/random.h"

namespace tandem::programs {

struct Attack {
  HostileTarget target;
  size_t count = 40;
  std::string bytes;
  Random random{static_cast<uint64_t>(getpid())};
  uint64_t connections = 0, requests = 0, answers = 0;
  std::chrono::steady_clock::time_point told{};

  HostileLink Connect() {
    ++connections;
    return HostileLink(target);
  }
  HostileLink ConnectAndGreet() {
    HostileLink link = Connect();
    if (link.ok()) (void)link.Greet();
    return link;
  }
  std::string Noise(size_t most) {
    std::string noise(random.Magnitude(most), '\0');
    random.Fill(noise);
    return noise;
  }
  // Returns null if there is no answer that can be decoded.
  std::optional<replica::Reply> Ask(HostileLink& link, const replica::Request& request) {
    ++requests;
    const auto answer = link.Ask(replica::EncodeRequest(request));
    if (!answer) return std::nullopt;
    ++answers;
    auto reply = replica::DecodeReply(*answer);
    return reply ? std::optional(std::move(*reply)) : std::nullopt;
  }
  // Opens a session with a volume of its own; null if refused.
  SessionId Hello(HostileLink& link, const std::string& volume) {
    const auto reply =
        Ask(link, {{}, replica::Hello{1, 1, volume, VolumeId(9, 9), "hostile:/", RunId(9, 9)}});
    const auto* position = reply ? std::get_if<replica::Position>(&reply->body) : nullptr;
    return position != nullptr ? position->session : SessionId();
  }
  void Tell() {
    const auto now = std::chrono::steady_clock::now();
    if (now - told < std::chrono::milliseconds(250)) return;
    if (told.time_since_epoch().count() == 0) std::puts("attacking");
    told = now;
    std::printf("%lu connections, %lu requests, %lu answers\n", connections, requests, answers);
    std::fflush(stdout);
  }
};

inline void Nothing(HostileLink&) {}

// Makes `count` connections, and again those that the daemon has closed. `begin` starts each; every
// 50 ms `turn` is called, and then `go_on` for each.
template <typename Begin, typename GoOn>
void Hold(
    Attack& attack, Begin begin, GoOn go_on, const std::function<void()>& turn = [] {}) {
  std::vector<HostileLink> links;
  while (links.size() < attack.count) {
    links.push_back(attack.Connect());
    begin(links.back());
  }
  while (true) {
    attack.Tell();
    turn();
    for (HostileLink& link : links) {
      if (!link.Ended()) {
        go_on(link);
        continue;
      }
      link = attack.Connect();
      begin(link);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

}  // namespace tandem::programs
