// The program's log: spdlog's default logger, set up once in main. Lines go to stderr, or after
// daemonising to syslog-like files below the state directory. Any thread.
#pragma once

#include <spdlog/spdlog.h>

#include <string>

#include "meta/base/result.h"

namespace tandem {

// Sets pattern and level (TANDEM_LOG=trace|debug|info|warn|error in the environment; info
// otherwise).
void SetUpLog(const std::string& program);

// From now on the log goes to this file, appended to and rotated at 10 MiB, three kept.
Status LogToFile(const std::string& program, const std::string& path);

}  // namespace tandem
