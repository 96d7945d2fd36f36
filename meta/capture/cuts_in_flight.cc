#include "meta/capture/cuts_in_flight.h"

#include <algorithm>
#include <utility>

namespace tandem::meta {

CutsInFlight::Cuts CutsInFlight::Add(std::shared_ptr<FrozenCut> cut) {
  const auto ended = std::stable_partition(cuts_.begin(), cuts_.end(),
                                           [](const auto& old) { return old->is_preserving(); });
  Cuts no_longer_kept(std::make_move_iterator(ended), std::make_move_iterator(cuts_.end()));
  cuts_.erase(ended, cuts_.end());
  cuts_.push_back(std::move(cut));
  return no_longer_kept;
}

void CutsInFlight::Preserve(const Intent& intent) const {
  for (const auto& cut : cuts_) {
    for (const Intent::Item& item : intent) {
      FrozenCut::Outcome outcome = cut->Preserve(item);
      while (outcome == FrozenCut::Outcome::kNoRoom) {
        // The oldest is given up first, so that a slow replica's cut does not cost the others
        // theirs.
        const auto oldest = std::ranges::find_if(cuts_, &FrozenCut::is_preserving);
        if (oldest == cuts_.end()) break;
        (*oldest)->GiveUp();
        outcome = cut->Preserve(item);
      }
      if (outcome == FrozenCut::Outcome::kTooMuch) cut->GiveUp();
    }
  }
}

void CutsInFlight::PreserveUnlinked(const ObjectId& object, int path_fd) const {
  for (const auto& cut : cuts_) cut->PreserveUnlinked(object, path_fd);
}

}  // namespace tandem::meta
