#include "replica/store/store_life.h"

#include <xxhash.h>

#include <fstream>
#include <string>

#include "meta/source/mount_identity.h"

namespace tandem::replica {

Result<LifeId> LifeOf(int directory_fd) {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string boot;
  if (!std::getline(file, boot)) return ErrnoError(EIO, "read this machine's boot id");
  ASSIGN_OR_RETURN(const std::string mount, meta::MountIdentityOf(directory_fd));
  if (mount.ends_with('?')) return LifeId::Random();  // may be the id of an earlier mount
  const std::string both = boot + "/" + mount;
  const XXH128_hash_t hash = XXH3_128bits(both.data(), both.size());
  return LifeId(hash.high64, hash.low64);
}

}  // namespace tandem::replica
