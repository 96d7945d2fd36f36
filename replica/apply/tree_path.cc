#include "replica/apply/tree_path.h"

#include "replica/apply/tuning.h"

namespace tandem::replica {
Result<std::string> PathOf(ObjectId object, const NamesOf& names_of) {
  if (object == kRootObject) return std::string(".");
  std::string path;
  ObjectId at = object;
  for (int depth = 0; at != kRootObject && depth < kMaxShownDepth; ++depth) {
    ASSIGN_OR_RETURN(const auto names, names_of(at));
    if (names.empty()) return path.empty() ? object.ToHex() : path;
    path = path.empty() ? names.front().name : names.front().name + "/" + path;
    at = names.front().parent;
  }
  return path;
}

Result<std::string> PathOf(Catalog& catalog, ObjectId object) {
  return PathOf(object, [&catalog](ObjectId at) { return catalog.NamesOf(at); });
}

std::string PathIn(const std::string& directory, const std::string& name) {
  return directory == "." ? name : directory + "/" + name;
}

Result<size_t> Depths::Of(ObjectId directory) {
  std::vector<ObjectId> way;
  size_t depth = 0;
  for (ObjectId at = directory; at != kRootObject;) {
    if (const auto known = known_.find(at); known != known_.end()) {
      depth = known->second;
      break;
    }
    way.push_back(at);
    known_[at] = 0;  // so that a circle ends here
    ASSIGN_OR_RETURN(const auto names, names_of_(at));
    if (names.empty()) break;
    at = names.front().parent;
  }
  for (auto it = way.rbegin(); it != way.rend(); ++it) known_[*it] = ++depth;
  return depth;
}

}  // namespace tandem::replica
