#include "replica/apply/spare_objects.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cstdio>

#include "meta/base/unique_fd.h"
#include "replica/apply/file_data.h"
#include "replica/apply/spare_file.h"
#include "replica/apply/tuning.h"

namespace tandem::replica {
namespace {

std::string NameOf(int number) { return "spare.object." + std::to_string(number); }

// Returns false also for a file that a power cut has left without its block.
bool IsThere(int stage_fd, const std::string& name) {
  struct stat found = {};
  return fstatat(stage_fd, name.c_str(), &found, AT_SYMLINK_NOFOLLOW) == 0 &&
         IsFileWithOneName(found) && found.st_size == static_cast<off_t>(kSpareObjectBytes) &&
         found.st_blocks > 0;
}

}  // namespace

Status MakeSpareObjects(int stage_fd) {
  const std::string zeros(kSpareObjectBytes, '\0');
  for (int number = 0; number < kSpareObjects; ++number) {
    const std::string name = NameOf(number);
    if (IsThere(stage_fd, name)) continue;
    ASSIGN_OR_RETURN(const UniqueFd fd, CreateAfresh(stage_fd, name, 0600));
    RETURN_IF_ERROR(WriteFully(fd.get(), zeros, 0));
  }
  return {};
}

uint64_t CountSpareObjects(int stage_fd) {
  uint64_t count = 0;
  for (int number = 0; number < kSpareObjects; ++number) {
    count += IsThere(stage_fd, NameOf(number)) ? 1 : 0;
  }
  return count;
}

bool TakeSpareObject(int stage_fd, int directory_fd, const std::string& name) {
  for (int number = 0; number < kSpareObjects; ++number) {
    const std::string spare = NameOf(number);
    if (!IsThere(stage_fd, spare)) continue;
    if (renameat2(stage_fd, spare.c_str(), directory_fd, name.c_str(), RENAME_NOREPLACE) == 0) {
      return true;
    }
  }
  return false;
}

}  // namespace tandem::replica
