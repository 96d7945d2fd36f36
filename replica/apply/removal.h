// Removes trees of any depth without recursion, with two descriptors. Subdirectories are first
// moved up into hold/. A crash leaves them there, where the next redo finds them. So does what the
// filesystem refuses to remove, because it is damaged: the directory around it stays in hold/. One
// thread.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "meta/base/result.h"

namespace tandem::replica {

// Called for each object before it is removed. Returns true if it has moved the object away, which
// is then not removed.
using Rescue = std::function<Result<bool>(int directory_fd, const std::string& name)>;

// Called for each directory before it is emptied, with the names in it.
using Census = std::function<Status(int directory_fd, const std::vector<std::string>& names)>;

// Removes `name` and everything below it. Succeeds if it is not there, and if something below it
// is damaged (MeansDamaged). `rescue` and `census` may be empty; `rescue` is not called
// for `name` itself.
Status RemoveAll(int hold_fd, int directory_fd, const std::string& name, const Rescue& rescue,
                 const Census& census = {});

// Returns the names in a directory, without "." and "..".
Result<std::vector<std::string>> NamesIn(int directory_fd);

}  // namespace tandem::replica
