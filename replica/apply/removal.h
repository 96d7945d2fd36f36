// Removes whole trees of any depth without recursion and with two descriptors: directories met on
// the way are first moved up into hold/. A crash leaves them there, where the next redo finds them.
// One thread.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "meta/base/result.h"

namespace tandem::replica {

// Asked about everything before it is removed; true: it has been taken away and is not to be.
using Rescue = std::function<Result<bool>(int directory_fd, const std::string& name)>;

// Told of each directory before it is emptied: what names are in it.
using Census = std::function<Status(int directory_fd, const std::vector<std::string>& names)>;

// What is not there is removed. `rescue` and `census` may be empty. Not asked about `name` itself.
Status RemoveAll(int hold_fd, int directory_fd, const std::string& name, const Rescue& rescue,
                 const Census& census = {});

// The names in a directory but "." and "..".
Result<std::vector<std::string>> NamesIn(int directory_fd);

}  // namespace tandem::replica
