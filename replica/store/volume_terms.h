// What the store and the account allow a volume, set when it is opened. Plain values.
#pragma once

#include <string>

#include "replica/store/account_usage.h"
#include "replica/store/reserve.h"

namespace tandem::replica {

struct VolumeTerms {
  // For people: VOLUME, or ACCOUNT/VOLUME. Empty: the volume's name.
  std::string label = {};
  // Null: nothing is counted.
  std::shared_ptr<AccountUsage> usage = nullptr;
  Reserve reserve = {};
};

}  // namespace tandem::replica
