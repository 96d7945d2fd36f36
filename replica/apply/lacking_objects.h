// What objects have on the source and not in the tree: extended attributes that cannot be set here,
// and what the account may not have set (special_attributes.h).
//
// Table `lacking` of replica.db: object, the names of either sort, separated by blanks. Rows are
// written in the same transaction as the cut. One thread at a time, like the catalog.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "meta/base/database.h"
#include "meta/base/ids.h"
#include "meta/base/result.h"

namespace tandem::replica {

// What objects lack of one sort.
struct LackingNames {
  uint64_t objects = 0;  // more than kMaxCountedLacking if there are more
  std::string names;     // what one of them lacks
};

// What objects lack in the tree, by why they do.
struct LackingAttributes {
  LackingNames unset;
  LackingNames withheld;
};

class LackingObjects {
 public:
  LackingObjects() = default;
  // Requires that `database` has the table and outlives the result.
  static Result<LackingObjects> Open(Database& database);

  Result<LackingAttributes> Count();
  // Returns the first `limit` objects of which something was withheld, with what.
  Result<std::vector<std::pair<ObjectId, std::string>>> ListWithheld(size_t limit);
  // Returns true if something of the object was withheld.
  Result<bool> IsWithheld(ObjectId object);
  // Returns what the object lacks: what could not be set, what was withheld.
  Result<std::pair<std::string, std::string>> Find(ObjectId object);
  // Clears the record if both are empty.
  Status Note(ObjectId object, const std::string& unset, const std::string& withheld);

 private:
  Statement count_, find_, list_withheld_, is_withheld_, note_, clear_;
};

}  // namespace tandem::replica
