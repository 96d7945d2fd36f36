#include "replica/apply/special_attributes.h"

#include <sys/stat.h>

namespace tandem::replica {

bool IsDevice(meta::Kind kind) {
  return kind == meta::Kind::kCharDevice || kind == meta::Kind::kBlockDevice;
}

std::string WithholdSpecial(meta::Attributes& attributes) {
  std::string withheld;
  const auto add = [&withheld](const std::string& name) {
    withheld += (withheld.empty() ? "" : " ") + name;
  };
  if (IsDevice(attributes.kind)) add("device");
  if (attributes.kind != meta::Kind::kDirectory) {
    if ((attributes.permissions & S_ISUID) != 0) add("setuid");
    if ((attributes.permissions & S_ISGID) != 0) add("setgid");
    attributes.permissions &= ~kSetIdBits;
  }
  std::erase_if(attributes.xattrs, [&add](const auto& xattr) {
    const std::string& name = xattr.first;
    const bool special = name.starts_with("security.") || name.starts_with("trusted.");
    if (special) add(name);
    return special;
  });
  return withheld;
}

}  // namespace tandem::replica
