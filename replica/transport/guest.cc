#include "replica/transport/guest.h"

#include "meta/base/log.h"

namespace tandem::replica {

void Guest::OnEnd(const Error& why) {
  LogDebug("connection of {} ended: {}", channel_.Address(), why.ToString());
  host_.Ended(*this);
}

GuestRef ChooseToEnd(const Guests& guests, bool proved_too) {
  std::unordered_map<std::string, int> counts;
  const auto may_end = [proved_too](const Guest& guest) {
    if (guest.ended || guest.running > 0) return false;
    return !guest.proved || proved_too;
  };
  for (const auto& [key, guest] : guests) {
    if (may_end(*guest)) ++counts[guest->address];
  }
  GuestRef chosen;
  for (const auto& [key, guest] : guests) {
    if (!may_end(*guest)) continue;
    if (chosen != nullptr) {
      const int more = counts[guest->address] - counts[chosen->address];
      if (more < 0 || (more == 0 && guest->last_bytes >= chosen->last_bytes)) continue;
    }
    chosen = guest;
  }
  return chosen;
}

}  // namespace tandem::replica
