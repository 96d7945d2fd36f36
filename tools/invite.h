// `tandemd invite`: makes the account if there is none, the keys of the store if there are none,
// and an invitation, and prints its token. Single-threaded.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "meta/base/result.h"

namespace tandem::tools {

struct InviteSettings {
  std::string account;
  std::string volumes = "*";
  bool read_only = false;
  std::string expires = "1h";
  std::vector<std::string> addresses;
  bool allow_special = false;
  std::string quota;  // empty: as it is
};

void DeclareInvite(CLI::App& command, InviteSettings& settings);
// Prints the token alone on stdout, and what to do with it on stderr.
Status Invite(const std::string& store, const InviteSettings& settings);

}  // namespace tandem::tools
