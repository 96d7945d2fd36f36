#include "replica/transport/frame_memory.h"

#include <algorithm>

#include "replica/transport/tuning.h"

namespace tandem::replica {

bool FrameMemory::IsShortFor(const Guest& guest) const {
  const auto held = of_peers_.find(guest.identity);
  return all_ > kMaxFrameBytes || (held != of_peers_.end() && held->second > kMaxFrameBytesOfOne);
}

bool FrameMemory::Take(Guest& guest, size_t bytes) {
  guest.frame_bytes += bytes;
  of_peers_[guest.identity] += bytes;
  all_ += bytes;
  guest.wants_memory = IsShortFor(guest) && !guest.may_exceed;
  return !guest.wants_memory;
}

void FrameMemory::Release(Guest& guest, size_t bytes) {
  guest.frame_bytes -= bytes;
  all_ -= bytes;
  const auto held = of_peers_.find(guest.identity);
  if (held != of_peers_.end() && (held->second -= bytes) == 0) of_peers_.erase(held);
}

std::vector<GuestRef> FrameMemory::ChooseToResume(const Guests& guests) {
  std::vector<GuestRef> resumed;
  for (const auto& [key, guest] : guests) {
    if (guest->ended || !guest->wants_memory || IsShortFor(*guest)) continue;
    guest->wants_memory = false;
    guest->last_bytes = Guest::Clock::now();  // that it waited was not its fault
    resumed.push_back(guest);
  }
  std::unordered_map<std::string, GuestRef> nearest;  // null: one of the peer's frames gets on
  for (const auto& [key, guest] : guests) {
    if (guest->ended || guest->frame_bytes == 0) continue;
    const auto [of_peer, is_first] = nearest.try_emplace(guest->identity, guest);
    if (!guest->wants_memory) {
      of_peer->second = nullptr;
    } else if (of_peer->second != nullptr && of_peer->second->frame_bytes < guest->frame_bytes) {
      of_peer->second = guest;
    }
  }
  for (const auto& [identity, guest] : nearest) {
    if (guest == nullptr) continue;
    guest->wants_memory = false;
    guest->may_exceed = true;
    guest->last_bytes = Guest::Clock::now();
    resumed.push_back(guest);
  }
  return resumed;
}

std::vector<GuestRef> FrameMemory::ChooseToEnd(const Guests& guests,
                                               Guest::Clock::time_point now) const {
  std::vector<GuestRef> stale;
  for (const auto& [key, guest] : guests) {
    const bool is_incomplete = !guest->ended && guest->frame_bytes > 0 && guest->running == 0 &&
                               guest->waiting.empty() && !guest->wants_memory;
    if (is_incomplete && now - guest->last_bytes > kStaleFrame && IsShortFor(*guest)) {
      stale.push_back(guest);
    }
  }
  std::ranges::sort(stale, {}, [](const GuestRef& guest) { return guest->last_bytes; });
  size_t freed = 0;
  const auto enough = std::ranges::find_if(stale, [&freed](const GuestRef& guest) {
    return std::exchange(freed, freed + guest->frame_bytes) > kMaxFrameBytes / 2;
  });
  stale.erase(enough, stale.end());
  return stale;
}

}  // namespace tandem::replica
