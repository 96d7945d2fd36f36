// The commands of tandemd that keep the account files of a store (replica/accounts/ACCOUNTS.md):
//   tandemd invite ACCOUNT --store DIR    prints a token that lets one host enrol
//   tandemd account list|revoke|rotate|remove --store DIR
// They work while the daemon runs, and take effect at its next request. Single-threaded.
#pragma once

#include <optional>

namespace tandem::tools {

// Runs the command and returns its exit code, or nothing if argv[1] is none of these commands.
std::optional<int> RunAccountCommand(int argc, char** argv);

}  // namespace tandem::tools
