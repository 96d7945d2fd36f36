// Replies that several parts of a volume give. Any thread.
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

inline Reply RefuseOldSession() {
  return Refuse(ReplyCode::kUnknownSession, "another session has begun since; say Hello again");
}

}  // namespace tandem::replica
