// tandem metrics: prints metrics once, or answers GET /metrics over HTTP until SIGTERM or SIGINT.
#pragma once

#include <string>
#include <vector>

#include "meta/base/result.h"

namespace tandem::tools {

struct MetricsOptions {
  std::string listen;  // HOST:PORT, or :PORT for loopback; empty: print once
  std::vector<std::string> stores;
};
// Fails with kUsage if the address cannot be used.
Result<int> RunMetrics(const MetricsOptions& options);

}  // namespace tandem::tools
