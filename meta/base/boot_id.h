// Which boot of the kernel this is: another one after each. Any thread.
#pragma once

#include <string>

namespace tandem {

// Returns the text of /proc/sys/kernel/random/boot_id, or an empty string if it cannot be read.
const std::string& BootId();

}  // namespace tandem
