// What the backing filesystem calls an object by, however it is renamed (name_to_handle_at(2)).
// Any thread.
#pragma once

#include <string>

#include "meta/base/ids.h"
#include "meta/base/result.h"
#include "meta/base/unique_fd.h"

namespace tandem {

// Opaque bytes: the handle's type (4, little endian), then the handle. Empty: the object has none.
struct FileHandle {
  std::string bytes;
  friend bool operator==(const FileHandle&, const FileHandle&) = default;
  friend auto operator<=>(const FileHandle&, const FileHandle&) = default;
};

struct IdentifiedObject {
  ObjectId id;
  FileHandle handle;
  int mount_id = 0;  // of the mount the object was reached through
};

// The object that (directory, name) names, itself if it is a symlink; an empty name means the
// descriptor's own object. Filesystems without handles get an id from inode, birth time and
// generation, and an empty handle. kRootObject is never returned: the caller knows its root.
Result<IdentifiedObject> Identify(int directory_fd, const char* name);

// Opens by handle; needs CAP_DAC_READ_SEARCH. `mount_fd` is any descriptor on that filesystem.
// ESTALE when the object is gone.
Result<UniqueFd> OpenByHandle(int mount_fd, const FileHandle& handle, int flags);

}  // namespace tandem

template <>
struct std::hash<tandem::FileHandle> {
  size_t operator()(const tandem::FileHandle& handle) const noexcept {
    return std::hash<std::string>()(handle.bytes);
  }
};
