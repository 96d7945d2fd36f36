// What status shows of one replica.
#pragma once

#include <cstdint>
#include <string>

#include "meta/base/ids.h"
#include "meta/change/change_set.h"

namespace tandem::replica {

enum class ReplicaState {
  kConnecting,
  kSeeding,
  kReconciling,
  kCurrent,
  kCatchingUp,
  kPaused,
  kBlocked,
};
const char* NameOf(ReplicaState state);

// How content travelled, in bytes, since the sender began.
struct SentContent {
  uint64_t plain = 0;       // as it is
  uint64_t delta = 0;       // as a delta, what that stands for
  uint64_t copied = 0;      // as the name of where the replica has it
  uint64_t compressed = 0;  // what compression saved, of all that was sent
};

struct ReplicaStatus {
  std::string name;
  std::string url;
  ReplicaState state = ReplicaState::kConnecting;
  CutName durable;
  CutName applied;
  double lag_seconds = 0;
  uint64_t sent_bytes = 0;
  uint64_t received_bytes = 0;
  SentContent content;          // how it was sent
  meta::PendingCounts pending;  // what it has not been sent yet, of what it has not applied
  std::string error;            // why it is not current; empty if it is
  std::string bandwidth;        // its limit, as people write it; empty: none
  int64_t paused_until = 0;     // seconds since 1970, of kPaused; 0: until it is resumed
  std::string notice;           // what the replica wants a person to know
  uint64_t objects_walked = 0;  // of a seed or reconcile under way
  uint64_t bytes_walked = 0;
};

}  // namespace tandem::replica
