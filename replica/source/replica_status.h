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

struct ReplicaStatus {
  std::string name;
  std::string url;
  ReplicaState state = ReplicaState::kConnecting;
  CutName durable;
  CutName applied;
  double lag_seconds = 0;
  uint64_t sent_bytes = 0;
  uint64_t received_bytes = 0;
  meta::PendingCounts pending;  // what it has not been sent yet, of what it has not applied
  std::string error;            // why it is not current; empty if it is
  std::string notice;           // what the replica wants a person to know
  uint64_t objects_walked = 0;  // of a seed or reconcile under way
  uint64_t bytes_walked = 0;
};

}  // namespace tandem::replica
