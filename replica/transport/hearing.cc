#include "replica/transport/hearing.h"

#include <algorithm>

#include "replica/transport/tuning.h"

namespace tandem::replica {

using std::chrono::milliseconds;

int64_t Hearing::NowMs() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<milliseconds>(now).count();
}

void Hearing::Begin(uint16_t local_port, uint16_t remote_port) {
  progress_.Follow(local_port, remote_port);
  counted_ = 0;
  Heard();
}

milliseconds Hearing::Unheard() {
  const auto bytes = progress_.Bytes();
  if (bytes && *bytes - counted_ >= kLeastProgressBytes) {
    counted_ = *bytes;
    Heard();
  }
  return milliseconds(std::max<int64_t>(0, NowMs() - heard_ms_));
}

}  // namespace tandem::replica
