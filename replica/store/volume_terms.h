// What the store and the account allow a volume, set when it is opened. Plain values.
#pragma once

#include <memory>
#include <string>

#include "replica/apply/kept_bases.h"
#include "replica/store/account_usage.h"
#include "replica/store/memory_budget.h"
#include "replica/store/reserve.h"

namespace tandem::replica {

struct VolumeTerms {
  // For people: VOLUME, or ACCOUNT/VOLUME. Empty: the volume's name.
  std::string label = {};
  // Null: nothing is counted.
  std::shared_ptr<AccountUsage> usage = nullptr;
  Reserve reserve = {};
  // For content that is read for signatures and deltas, and the account that is charged. Null:
  // there is no bound.
  std::shared_ptr<MemoryBudget> reading = nullptr;
  std::string account = {};
  // Of what redoes have taken away. Null: none of it is kept.
  std::shared_ptr<KeptBudget> kept = nullptr;
};

}  // namespace tandem::replica
