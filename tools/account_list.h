// Shows the accounts of a store to people and to programs. Single-threaded.
#pragma once

#include <cstdint>
#include <string>

#include "replica/accounts/accounts.h"

namespace tandem::tools {

// Returns the local date and minute, "never" for 0.
std::string InWords(int64_t time);

// Prints a table, one line for each identity and each open invitation.
void PrintAccounts(const replica::Accounts& accounts, int64_t now);
// Prints {"accounts": [{"name", "quota_bytes", "allow_special", "identities": [...],
// "invitations": [...]}]}. Times are seconds since 1970, 0 is never.
void PrintAccountsJson(const replica::Accounts& accounts, int64_t now);

}  // namespace tandem::tools
