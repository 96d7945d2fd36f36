// What tandem status knows, as metrics in Prometheus' text format
// (https://prometheus.io/docs/instrumenting/exposition_formats/). Names follow its conventions:
// base units, counters end in _total. The library prometheus-cpp writes the text.
//
// Any thread.
#pragma once

#include <string>
#include <vector>

#include "meta/base/result.h"
#include "tools/control.h"

namespace tandem::tools {

// `mounts` are what AskStatuses (tools/mount_survey.h) returned, `stores` what ReadStoreStatus did.
std::string MetricsText(const std::vector<Json>& mounts, const std::vector<Json>& stores);

// Asks all mounts of this user, and reads these stores. A mount that does not answer, or a store
// that cannot be read, is a metric, not an error.
Result<std::string> CollectMetrics(const std::vector<std::string>& stores);

}  // namespace tandem::tools
