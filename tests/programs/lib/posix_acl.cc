#include "tests/programs/lib/posix_acl.h"

#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>

namespace tandem::programs {
namespace {

constexpr uint32_t kUndefinedId = 0xffffffff;

template <typename T>
void AppendLittleEndian(T value, std::string* out) {
  for (size_t i = 0; i < sizeof value; ++i) {
    *out += static_cast<char>((value >> (8 * i)) & 0xff);
  }
}

void AppendEntry(uint16_t tag, uint16_t permissions, uint32_t id, std::string* out) {
  AppendLittleEndian(tag, out);
  AppendLittleEndian(permissions, out);
  AppendLittleEndian(id, out);
}

}  // namespace

std::string EncodeAcl(const PosixAcl& acl) {
  std::string out;
  AppendLittleEndian(uint32_t{POSIX_ACL_XATTR_VERSION}, &out);
  AppendEntry(ACL_USER_OBJ, acl.owner, kUndefinedId, &out);
  for (const auto& [id, permissions] : acl.users) {
    AppendEntry(ACL_USER, permissions, id, &out);
  }
  AppendEntry(ACL_GROUP_OBJ, acl.owning_group, kUndefinedId, &out);
  for (const auto& [id, permissions] : acl.groups) {
    AppendEntry(ACL_GROUP, permissions, id, &out);
  }
  if (!acl.users.empty() || !acl.groups.empty()) {
    AppendEntry(ACL_MASK, acl.mask, kUndefinedId, &out);
  }
  AppendEntry(ACL_OTHER, acl.other, kUndefinedId, &out);
  return out;
}

}  // namespace tandem::programs
