// The files of tandemd's sockets at ipc:// URLs. One thread.
#pragma once

#include <string>
#include <vector>

namespace tandem::tools {

// Makes the directory of each socket, 0755, if only its last part is missing. If that fails,
// listening there fails, and says why.
void MakeSocketDirectories(const std::vector<std::string>& urls);
// Gives the sockets to the group tandemd, if there is one and this process may. Otherwise only this
// process's group and root can connect.
void GiveSocketsToGroup(const std::vector<std::string>& urls);

}  // namespace tandem::tools
