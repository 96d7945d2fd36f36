// Modes of hostile_client that concern TLS, and what a peer that is no host of the store may not
// do. Header only, like hostile_attack.h. The raw ones go to the tls port by a tcp:// URL.
#pragma once

#include <cstdio>
#include <initializer_list>
#include <string>
#include <vector>

#include "replica/wire/chunk_payload.h"
#include "tests/programs/lib/hostile_attack.h"

namespace tandem::programs {

// Raw: half of the first message of a handshake, or all of it, and then nothing.
inline void HalfHandshakes(Attack& attack) {
  const std::string hello = HostileLink::ClientHello();
  Hold(
      attack,
      [&](HostileLink& link) {
        (void)link.Send(
            std::string_view(hello).substr(0, hello.size() / attack.random.Between(1, 2)));
      },
      Nothing);
}

// Raw: has the daemon do its part of a handshake, which costs it a signature and the peer nothing,
// on many connections at once, again and again.
inline void HandshakeFlood(Attack& attack) {
  const std::string hello = HostileLink::ClientHello();
  while (true) {
    std::vector<HostileLink> links;
    for (size_t i = 0; i < attack.count; ++i) {
      links.push_back(attack.Connect());
      (void)links.back().Send(hello);
      ++attack.requests;
    }
    for (HostileLink& link : links) attack.answers += link.HearsWithin(1000) ? 1 : 0;
    attack.Tell();
  }
}

// Asks for new keys all the time, which the daemon has to answer, and never reads.
inline void KeyUpdateFlood(Attack& attack) {
  constexpr int kAtOnce = 200;
  Hold(
      attack,
      [](HostileLink& link) {
        (void)link.Send({HostileLink::kGreeting, HostileLink::kGreetingBytes});
      },
      [&](HostileLink& link) {
        for (int i = 0; i < kAtOnce && link.UpdateKeys(); ++i) ++attack.requests;
      });
}

// One large request that is answered, and then nothing more.
inline void LargeThenIdle(Attack& attack) {
  const std::string large(1 << 20, 'l');
  Hold(
      attack,
      [&](HostileLink& link) {
        ++attack.requests;
        if (link.Greet() && link.Ask(large)) ++attack.answers;
      },
      Nothing);
}

// A frame that is larger than a stranger's may be, with a request in it that is valid otherwise.
inline void StrangerFrames(Attack& attack) {
  const std::string filler((64 << 10), 's');
  const std::string request =
      replica::EncodeRequest({{}, replica::Enrol{std::string(32, 'x'), filler, "host"}});
  while (true) {
    HostileLink link = attack.ConnectAndGreet();
    ++attack.requests;
    if (link.Ask(request)) std::puts("WRONG: answered");
    if (!link.Ended()) std::puts("WRONG: still open");
    attack.Tell();
  }
}

// Sends each kind of request, none of which may be answered by anything but a refusal.
inline void Refused(Attack& attack) {
  using namespace replica;  // NOLINT: every message is named here
  const CutName cut{Epoch(1), CutId(1, 1)};
  const std::string payload = "chunk";
  const std::initializer_list<RequestBody> kRequests = {
      replica::Hello{kProtocolOldest, kProtocolNewest, "volume", VolumeId(9, 9), "hostile:/", {}},
      Begin{CutId(2, 2), {}, 0},
      Chunk{CutId(2, 2), 0, 0, ChecksumOf(payload), payload},
      Commit{CutId(2, 2), {}, cut, 0, 0, 0},
      WaitApplied{cut, 10},
      GetSignature{kRootObject, 0, 1},
      List{kRootObject, Origin::kDatabase, "", false},
      List{kRootObject, Origin::kDisk, "", true},
      Find{{kRootObject}, Origin::kDatabase, true},
      GetDigests{kRootObject, 0, 512, {512}},
      Enrol{std::string(32, 'x'), "no request", "host"},
      Renew{},
      Renew{"no request"}};
  while (true) {
    HostileLink link = attack.ConnectAndGreet();
    for (const RequestBody& body : kRequests) {
      const auto reply = attack.Ask(link, {SessionId::Random(), body});
      if (!reply) {
        std::puts("WRONG: no answer");
      } else if (reply->code != ReplyCode::kRefused) {
        std::printf("WRONG: request %zu has code %d: %s\n", body.index(),
                    static_cast<int>(reply->code), reply->message.c_str());
      }
      attack.Tell();
    }
  }
}

}  // namespace tandem::programs
