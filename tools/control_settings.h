// Requests that change the settings and the replicas of a running mount (tools/control.h):
//   {"op":"pause","replica":NAME,"for_ms":N}   for_ms may be missing: until resumed; likewise
//   replica
//   {"op":"resume","replica":NAME}
//   {"op":"set","replica":NAME,"interval_ms":N,"bwlimit":TEXT,"log_level":TEXT}   each may be
//   missing
//   {"op":"replica-list"}, {"op":"replica-add","name":NAME,"url":URL},
//   {"op":"replica-remove","name":NAME}, {"op":"replica-rename","name":NAME,"to":NAME},
//   {"op":"replica-set-url","name":NAME,"url":URL}
// Any thread.
#pragma once

#include <optional>
#include <string>

#include "replica/source/replication.h"
#include "tools/control.h"

namespace tandem::tools {

// Returns the replica that a request names; nullopt: all.
std::optional<std::string> ReplicaOf(const Json& request);

// Returns nullopt if `op` is none of these.
std::optional<Result<Json>> ChangeSettings(const std::string& op, const Json& request,
                                           replica::Replication& replication);

}  // namespace tandem::tools
