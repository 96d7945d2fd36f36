#include "replica/store/store_life.h"

#include <xxhash.h>

#include <string>

#include "meta/base/boot_id.h"
#include "meta/source/mount_identity.h"

namespace tandem::replica {

LifeId LifeOf(int directory_fd) {
  const std::string& boot = BootId();
  const auto mount = meta::MountIdentityOf(directory_fd);
  // An identity with a question mark may be that of an earlier mount.
  if (boot.empty() || !mount || mount->ends_with('?')) return LifeId::Random();
  const std::string both = boot + "/" + *mount;
  const XXH128_hash_t hash = XXH3_128bits(both.data(), both.size());
  return LifeId(hash.high64, hash.low64);
}

}  // namespace tandem::replica
