// What a peer of the store may do. Plain values.
#pragma once

#include <cstdint>
#include <string>

namespace tandem::replica {

// The account whose volumes stand at STORE/VOLUME; those of others stand at STORE/ACCOUNT/VOLUME.
inline constexpr char kLocalAccount[] = "local";

struct Quota {
  uint64_t bytes = 0;    // of all the account's volumes, as CatalogTotals counts; 0: no limit
  uint64_t objects = 0;  // likewise
  uint64_t volumes = 0;  // likewise
};

struct Rights {
  std::string account = kLocalAccount;
  std::string identity;              // tells holders of sessions apart, and is shown in messages
  bool may_write = true;             // may open a session that writes
  bool may_only_enrol = false;       // every other request is refused
  bool may_set_special = true;       // setuid, setgid, devices, file capabilities, trusted.*
  std::string volume_pattern = "*";  // of the names of volumes, as fnmatch(3) reads it
  Quota quota;
};

}  // namespace tandem::replica
