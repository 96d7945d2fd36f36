#include "replica/source/replica_status.h"

namespace tandem::replica {

const char* NameOf(ReplicaState state) {
  switch (state) {
    case ReplicaState::kConnecting:
      return "connecting";
    case ReplicaState::kSeeding:
      return "seeding";
    case ReplicaState::kReconciling:
      return "reconciling";
    case ReplicaState::kCurrent:
      return "current";
    case ReplicaState::kCatchingUp:
      return "catching-up";
    case ReplicaState::kPaused:
      return "paused";
    case ReplicaState::kBlocked:
      return "blocked";
  }
  return "connecting";
}

}  // namespace tandem::replica
