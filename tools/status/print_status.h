// Prints statuses for people. Single-threaded.
#pragma once

#include <cstdint>
#include <string>

#include "tools/control.h"

namespace tandem::tools {

// Returns "1.5 MiB".
std::string BytesText(uint64_t bytes);
// Returns "2 h 5 min", "3.4 s".
std::string TimeText(double seconds);
// Whether stdout takes colours: it is a terminal, and NO_COLOR is not set.
bool TakesColours();

// Prints what AskStatus (tools/mount_survey.h) returned.
void PrintStatus(const Json& status);

}  // namespace tandem::tools
