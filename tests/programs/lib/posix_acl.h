// POSIX ACLs as the bytes of system.posix_acl_access and
// system.posix_acl_default (linux/posix_acl_xattr.h: a little-endian version
// word, then entries of tag, permissions and id, in canonical order).
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace tandem::programs {

// Permissions are rwx bits, 0 to 7.
struct PosixAcl {
  uint16_t owner = 7;
  uint16_t owning_group = 5;
  uint16_t other = 5;
  uint16_t mask = 7;  // Written only if there are named users or groups.
  std::map<uint32_t, uint16_t> users;
  std::map<uint32_t, uint16_t> groups;
};

std::string EncodeAcl(const PosixAcl& acl);

}  // namespace tandem::programs
