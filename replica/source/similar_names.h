// Names under which an older version of a file may stand in the same directory: programs keep one
// beside what they write, and write a new one beside the old.
//
// Any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace tandem::replica {

// Returns the names that `name` was made from, if it looks like a copy, a journal or a temporary
// file: "mail" for "mail~", "mail.bak", "mail-journal", "mail.new", "mail.1" and ".mail.Ab3xYz"
// (rsync, mkstemp). The most likely first.
std::vector<std::string> NamesOfOriginals(std::string_view name);
// Returns the names under which programs keep the old version of `name`.
std::vector<std::string> NamesOfBackups(std::string_view name);

}  // namespace tandem::replica
