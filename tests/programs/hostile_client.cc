// hostile_client MODE URL [NAME=VALUE]...: speaks to a daemon as nobody should, until it is
// ended. Says "attacking" on stdout once it has begun, and four times a second how many
// connections, requests and answers there were.
//   count=N     connections at once (default 40)
//   from=IP     own address of tcp and tls connections
//   window=N    bytes that the kernel takes in for what is not read, over tcp and tls
//   cert=FILE key=FILE   what it shows over tls (PEM); nothing by default: it is a stranger
//   bytes=FILE  what mode replay sends
// Modes: see kModes.
#include <signal.h>
#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <thread>

#include "replica/wire/chunk_payload.h"
#include "replica/wire/messages.h"
#include "tests/programs/lib/hostile_attack.h"
#include "tests/programs/lib/hostile_greedy.h"
#include "tests/programs/lib/hostile_link.h"
#include "tests/programs/lib/hostile_tls_modes.h"

namespace {

using namespace tandem;           // NOLINT: ids
using namespace tandem::replica;  // NOLINT: every message is named here
using programs::Attack;
using programs::Greedy;
using programs::HalfHandshakes;
using programs::HandshakeFlood;
using programs::Hold;
using programs::HostileLink;
using programs::KeyUpdateFlood;
using programs::LargeThenIdle;
using programs::Nothing;
using programs::Refused;
using programs::StrangerFrames;
using std::chrono::milliseconds;

// ---- Modes -------------------------------------------------------------------------------------

void Garbage(Attack& attack) {
  while (true) {
    HostileLink link = attack.Connect();
    if (attack.random.OneIn(2)) (void)link.Send({HostileLink::kGreeting, 8});
    (void)link.Send(attack.Noise(64 << 10));
    attack.Tell();
  }
}

void WrongGreetings(Attack& attack) {
  static constexpr std::string_view kGreetings[] = {{"\0SP\0\0\x20\0\0", 8},
                                                    {"\0SP\1\0\x30\0\0", 8},
                                                    {"\0SP\0\0\x31\0\0", 8},
                                                    {"\0SP\0\0\x30\1\0", 8},
                                                    {"\0SP", 3},
                                                    "GET / HTTP/1.1\r\nHost: backup\r\n\r\n"};
  Hold(
      attack, [&](HostileLink& link) { (void)link.Send(attack.random.Choose(kGreetings)); },
      Nothing);
}

void Idle(Attack& attack) { Hold(attack, Nothing, Nothing); }

void IdleOnceGreeted(Attack& attack) {
  Hold(
      attack, [](HostileLink& link) { (void)link.Greet(); }, Nothing);
}

// Announces as much as a message may have, or could once, and sends half of it, or nothing.
void HalfFrames(Attack& attack) {
  static constexpr uint64_t kLengths[] = {4 << 20, kMaxMessageBytes};
  const std::string bytes(kMaxMessageBytes / 2, 'h');
  Hold(
      attack,
      [&](HostileLink& link) {
        const uint64_t length = attack.random.Choose(kLengths);
        if (!link.Greet() || !link.Send(link.Header(length))) return;
        if (attack.random.OneIn(2)) (void)link.Send(std::string_view(bytes).substr(0, length / 2));
      },
      Nothing);
}

void HugeFrames(Attack& attack) {
  static constexpr uint64_t kLengths[] = {0,          1,          3,          uint64_t{1} << 32,
                                          1ull << 40, 1ull << 62, 1ull << 63, UINT64_MAX};
  Hold(
      attack,
      [&](HostileLink& link) {
        if (link.Greet()) (void)link.Send(link.Header(attack.random.Choose(kLengths)));
      },
      Nothing);
}

void NeverRead(Attack& attack) {
  const std::string ask =
      EncodeRequest({SessionId(1, 2), List{kRootObject, Origin::kDatabase, "", false}});
  Hold(
      attack,
      [](HostileLink& link) {
        (void)link.Send({HostileLink::kGreeting, 8});
      },
      [&](HostileLink& link) {
        std::string frames;
        for (int i = 0; i < 500; ++i) frames += link.Frame(ask);
        attack.requests += 500;
        // What does not fit is lost, and what comes after it is noise.
        (void)link.SendSome(frames);
      });
}

// A byte each second of greeting and requests, on each connection.
void Slow(Attack& attack) {
  std::map<int, size_t> sent;
  auto next = std::chrono::steady_clock::now();
  bool due = false;
  Hold(
      attack, [&](HostileLink& link) { sent[link.fd()] = 0; },
      [&](HostileLink& link) {
        const std::string all = std::string(HostileLink::kGreeting, 8) + link.Frame("slowly");
        if (due) (void)link.Send({&all[sent[link.fd()]++ % all.size()], 1});
      },
      [&] {
        const auto now = std::chrono::steady_clock::now();
        due = now >= next;
        if (due) next = now + std::chrono::seconds(1);
      });
}

void HelloFlood(Attack& attack) {
  for (uint64_t i = 0;; ++i) {
    HostileLink link = attack.ConnectAndGreet();
    for (int j = 0; j < 20 && link.ok(); ++j) {
      (void)attack.Hello(link, "flood-" + std::to_string(getpid()) + "-" + std::to_string(i++));
      attack.Tell();
    }
  }
}

void BeginFlood(Attack& attack) {
  while (true) {
    HostileLink link = attack.ConnectAndGreet();
    const SessionId session = attack.Hello(link, "stages");
    for (int i = 0; i < 200 && link.ok(); ++i) {
      (void)attack.Ask(link, {session, Begin{CutId::Random(), {}, 0}});
      attack.Tell();
    }
    attack.Tell();
  }
}

void OldProtocol(Attack& attack) {
  while (true) {
    HostileLink link = attack.ConnectAndGreet();
    for (const uint32_t version : {0u, 99u, UINT32_MAX}) {
      const replica::Hello hello{version, version, "volume", VolumeId(9, 9), "old:/", {}};
      const auto reply = attack.Ask(link, {{}, hello});
      // A daemon that does not know volume or peer may say so instead.
      if (reply && reply->code == ReplyCode::kOk) std::puts("WRONG: taken");
    }
    attack.Tell();
  }
}

void OddNumbers(Attack& attack) {
  const CutName cuts[] = {{Epoch(INT64_MAX), CutId(1, 1)},
                          {Epoch(uint64_t{1} << 63), CutId(1, 1)},
                          {kNewestEpoch, CutId(1, 1)},
                          {Epoch(UINT64_MAX), CutId(1, 1)}};
  while (true) {
    HostileLink link = attack.ConnectAndGreet();
    const SessionId session = attack.Hello(link, "odd");
    for (const CutName& cut : cuts) {
      for (const RequestBody& body : std::initializer_list<RequestBody>{
               Begin{CutId(2, 2), cut, UINT64_MAX}, Commit{CutId(2, 2), {}, cut, INT64_MIN, 0, 0},
               WaitApplied{cut, UINT32_MAX},
               Increment{{CutId(2, 2), {}},
                         {CutId(2, 2), 0, 0, 0, "x"},
                         {CutId(2, 2), {}, cut, INT64_MIN, 1, 0},
                         UINT32_MAX},
               GetSignature{kRootObject, cut.epoch.number(), kMaxDeltaWindow},
               GetDigests{
                   kRootObject, cut.epoch.number() & ~uint64_t{511}, kMaxDigestWindow, {512}},
               Chunk{CutId(2, 2), cut.epoch.number(), 0, 0, "x"}}) {
        const auto reply = attack.Ask(link, {session, body});
        if (reply && reply->code == ReplyCode::kOk &&
            (std::holds_alternative<Commit>(body) || std::holds_alternative<Increment>(body))) {
          std::puts("WRONG: committed");
        }
      }
      attack.Tell();
    }
  }
}

// A zstd frame of `blocks` blocks that each repeat one byte 128 KiB long.
std::string Bomb(uint32_t blocks) {
  std::string frame("\x28\xb5\x2f\xfd\x00\x58", 6);
  for (uint32_t i = 0; i < blocks; ++i) {
    const uint32_t header = (i + 1 == blocks ? 1u : 0u) | 1u << 1 | (128u << 10) << 3;
    frame.append({static_cast<char>(header), static_cast<char>(header >> 8),
                  static_cast<char>(header >> 16), 'b'});
  }
  return frame;
}

void Bombs(Attack& attack) {
  const std::string payload = Bomb(64 << 10);  // 8 GiB
  while (true) {
    HostileLink link = attack.ConnectAndGreet();
    const SessionId session = attack.Hello(link, "bombs");
    const CutId stage = CutId::Random();
    (void)attack.Ask(link, {session, Begin{stage, {}, 0}});
    for (const uint64_t announced : {uint64_t{1} << 20, uint64_t{kMaxMessageBytes}}) {
      const Chunk chunk{stage, 0, announced, ChecksumOf(payload), payload};
      const auto reply = attack.Ask(link, {session, chunk});
      if (reply && reply->code == ReplyCode::kOk) std::puts("WRONG: taken");
      attack.Tell();
    }
  }
}

void Replay(Attack& attack) {
  while (true) {
    HostileLink link = attack.Connect();
    (void)link.Send(attack.bytes);
    ++attack.requests;
    attack.Tell();
    std::this_thread::sleep_for(milliseconds(20));
  }
}

const std::map<std::string, void (*)(Attack&)> kModes = {{"garbage", Garbage},
                                                         {"greetings", WrongGreetings},
                                                         {"idle", Idle},
                                                         {"greeted", IdleOnceGreeted},
                                                         {"half", HalfFrames},
                                                         {"huge", HugeFrames},
                                                         {"never-read", NeverRead},
                                                         {"greedy", Greedy},
                                                         {"slow", Slow},
                                                         {"hellos", HelloFlood},
                                                         {"begins", BeginFlood},
                                                         {"old", OldProtocol},
                                                         {"odd", OddNumbers},
                                                         {"bombs", Bombs},
                                                         {"replay", Replay},
                                                         {"half-handshakes", HalfHandshakes},
                                                         {"handshakes", HandshakeFlood},
                                                         {"key-updates", KeyUpdateFlood},
                                                         {"large-then-idle", LargeThenIdle},
                                                         {"stranger-frames", StrangerFrames},
                                                         {"refused", Refused}};

void Set(Attack& attack, const std::string& argument) {
  const size_t at = argument.find('=');
  const std::string name = argument.substr(0, at);
  const std::string value = at == std::string::npos ? "" : argument.substr(at + 1);
  if (name == "count") attack.count = std::strtoul(value.c_str(), nullptr, 10);
  if (name == "from") attack.target.from = value;
  if (name == "window") attack.target.window = std::atoi(value.c_str());
  if (name == "cert") attack.target.certificate = value;
  if (name == "key") attack.target.key = value;
  if (name != "bytes") return;
  std::ifstream file(value, std::ios::binary);
  attack.bytes.assign(std::istreambuf_iterator<char>(file), {});
}

}  // namespace

int main(int argc, char** argv) {
  const auto mode = argc > 2 ? kModes.find(argv[1]) : kModes.end();
  if (mode == kModes.end()) {
    std::fputs("usage: hostile_client MODE URL [NAME=VALUE]...; modes:", stderr);
    for (const auto& [name, run] : kModes) std::fprintf(stderr, " %s", name.c_str());
    std::fputs("\n", stderr);
    return 2;
  }
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  signal(SIGPIPE, SIG_IGN);
  Attack attack;
  attack.target.url = argv[2];
  for (int i = 3; i < argc; ++i) Set(attack, argv[i]);
  mode->second(attack);
}
