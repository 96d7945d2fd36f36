// Replies as the volume's handlers make them. Any thread.
#pragma once

#include <string>
#include <utility>

#include "replica/wire/messages.h"

namespace tandem::replica {

inline Reply Ok(ReplyBody body = {}) { return {ReplyCode::kOk, "", {}, std::move(body)}; }

inline Reply Refuse(ReplyCode code, std::string message) {
  return {code, std::move(message), {}, {}};
}

inline Reply RefuseWrongBase(const CutName& base, const CutName& durable) {
  const auto named = [](const CutName& cut) {
    return std::to_string(cut.epoch.number()) + " (" + cut.id.ToHex() + ")";
  };
  return Refuse(ReplyCode::kWrongBase,
                "the replica is at cut " + named(durable) + ", not at " + named(base));
}

}  // namespace tandem::replica
