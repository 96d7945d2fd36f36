// A mode of hostile_client: one peer that asks for much and takes nothing. Header only, like
// hostile_attack.h.
#pragma once

#include <endian.h>

#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <string>
#include <vector>

#include "replica/wire/chunk_payload.h"
#include "tests/programs/lib/hostile_attack.h"

namespace tandem::programs {

// Makes a directory of many long names in a volume of its own. Returns the session.
inline SessionId MakeLongNames(Attack& attack) {
  using namespace replica;  // NOLINT: every message is named here
  constexpr int kNames = 4000;
  HostileLink link = attack.ConnectAndGreet();
  const SessionId session = attack.Hello(link, "greedy");
  const ObjectId file(9, 1);
  meta::Attributes attributes;
  attributes.kind = meta::Kind::kFile;
  std::vector<Record> records = {ObjectRecord{file, true, true, attributes}};
  for (int i = 0; i < kNames; ++i) {
    records.push_back(EntryRecord{kRootObject, std::to_string(i) + std::string(240, 'n'), file});
  }
  const std::string payload = EncodeRecords(records);
  const CutId stage = CutId::Random();
  const CutName cut{Epoch(1), CutId(1, 1)};
  const uint64_t checksum = htole64(ChecksumOf(payload));
  const uint64_t digest = ChecksumOf({reinterpret_cast<const char*>(&checksum), sizeof checksum});
  for (const RequestBody& body : std::initializer_list<RequestBody>{
           Begin{stage, {}, 0}, Chunk{stage, 0, 0, ChecksumOf(payload), payload},
           Commit{stage, {}, cut, 0, 1, digest}, WaitApplied{cut, 4000}}) {
    const auto reply = attack.Ask(link, {session, body});
    if (!reply || reply->code != ReplyCode::kOk) {
      std::fprintf(stderr, "no names: %s\n", reply ? reply->message.c_str() : "no answer");
      std::exit(1);
    }
  }
  return session;
}

// Asks for large answers all the time, on each connection, and reads none.
inline void Greedy(Attack& attack) {
  using namespace replica;  // NOLINT: likewise
  const std::string ask =
      EncodeRequest({MakeLongNames(attack), List{kRootObject, Origin::kDatabase, "", false}});
  Hold(
      attack,
      [](HostileLink& link) {
        (void)link.Send({HostileLink::kGreeting, 8});
      },
      [&](HostileLink& link) {
        ++attack.requests;
        (void)link.SendSome(link.Frame(ask));
      });
}

}  // namespace tandem::programs
