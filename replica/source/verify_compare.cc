#include "replica/source/verify_compare.h"

#include "meta/base/printable.h"
#include "meta/source/attribute_text.h"

namespace tandem::replica {
std::string Versus(const std::string& what, const std::string& ours, const std::string& theirs) {
  return what + " " + ours + ", replica " + theirs;
}

std::string AttributeDifference(const meta::Attributes& ours, const meta::Attributes& theirs) {
  if (ours.permissions != theirs.permissions) {
    return Versus("mode", meta::ModeText(ours.permissions), meta::ModeText(theirs.permissions));
  }
  if (ours.uid != theirs.uid || ours.gid != theirs.gid) {
    return Versus("owner", meta::OwnerText(ours), meta::OwnerText(theirs));
  }
  if (ours.size != theirs.size) {
    return Versus("size", std::to_string(ours.size), std::to_string(theirs.size));
  }
  if (ours.device != theirs.device) {
    return Versus("device", std::to_string(ours.device), std::to_string(theirs.device));
  }
  if (ours.link_target != theirs.link_target) {
    return Versus("target", Printable(ours.link_target), Printable(theirs.link_target));
  }
  if (ours.modify_time != theirs.modify_time) {
    return Versus("mtime", meta::TimeText(ours.modify_time), meta::TimeText(theirs.modify_time));
  }
  const bool has_links = ours.kind != meta::Kind::kDirectory;
  if (has_links && ours.link_count != theirs.link_count) {
    return Versus("links", std::to_string(ours.link_count), std::to_string(theirs.link_count));
  }
  return {};
}

bool ContentMayDiffer(const meta::Attributes& ours, const meta::Attributes& theirs) {
  return ours.size != theirs.size || ours.modify_time != theirs.modify_time;
}

std::vector<std::string> XattrDifferences(const meta::Xattrs& ours, const meta::Xattrs& theirs) {
  std::vector<std::string> differences;
  for (const auto& [name, value] : ours) {
    const auto found = theirs.find(name);
    if (found == theirs.end()) {
      differences.push_back(Printable(name) + " is missing on the replica");
    } else if (found->second != value) {
      differences.push_back(Printable(name) + " has another value on the replica");
    }
  }
  for (const auto& [name, value] : theirs) {
    if (!ours.contains(name)) differences.push_back(Printable(name) + " is only on the replica");
  }
  return differences;
}

}  // namespace tandem::replica
