// The way from an object up to the root, by the names that a caller says it has: the catalog's, or
// those of a plan.
//
// One thread; the names are asked for while a function runs.
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

// By the first name of each, below the root; "." is the root itself. The object's id if it has
// none.
Result<std::string> PathOf(ObjectId object, const NamesOf& names_of);
Result<std::string> PathOf(Catalog& catalog, ObjectId object);
std::string PathIn(const std::string& directory, const std::string& name);

// How many names below the root directories are. Remembers what it was told.
class Depths {
 public:
  explicit Depths(NamesOf names_of) : names_of_(std::move(names_of)) {}
  Result<size_t> Of(ObjectId directory);

 private:
  const NamesOf names_of_;
  std::unordered_map<ObjectId, size_t> known_;
};

}  // namespace tandem::replica
