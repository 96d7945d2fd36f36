// Finds the way from an object up to the root. The caller provides the names: the catalog's, or
// those of a plan. One thread; the caller's function is called only while a function here runs.
#pragma once

#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

#include "meta/base/ids.h"
#include "meta/base/result.h"
#include "replica/apply/catalog.h"

namespace tandem::replica {

using NamesOf = std::function<Result<std::vector<EntryKey>>(ObjectId)>;

// Returns the path below the root, by the first name of each object. Returns "." for the root
// itself, and the object's id in hexadecimal if the object has no name.
Result<std::string> PathOf(ObjectId object, const NamesOf& names_of);
Result<std::string> PathOf(Catalog& catalog, ObjectId object);
// Returns the path of `name` in a directory whose path came from PathOf.
std::string PathIn(const std::string& directory, const std::string& name);

// Computes how many names below the root a directory is. Caches the results.
class Depths {
 public:
  explicit Depths(NamesOf names_of) : names_of_(std::move(names_of)) {}
  Result<size_t> Of(ObjectId directory);

 private:
  const NamesOf names_of_;
  std::unordered_map<ObjectId, size_t> known_;
};

}  // namespace tandem::replica
