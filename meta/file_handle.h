// What the backing filesystem calls an object by, however it is renamed (name_to_handle_at(2)).
// Any thread.
#pragma once

#include <compare>
#include <cstdint>
#include <string_view>
#include <utility>

#include "meta/base/ids.h"
#include "meta/base/result.h"
#include "meta/base/unique_fd.h"

namespace tandem {

// Opaque bytes: the handle's type (4, little endian), then the handle. Empty: the object has none.
// One is kept for every object the kernel remembers, so those of ext4, xfs and btrfs (12, 16 and 24
// bytes) stand in the value itself; longer ones (network filesystems') on the heap.
class FileHandle {
 public:
  FileHandle() = default;
  // The kernel's have at most 132 bytes. More than 255 are no handle: empty.
  explicit FileHandle(std::string_view bytes);
  FileHandle(const FileHandle& other) : FileHandle(other.bytes()) {}
  FileHandle(FileHandle&& other) noexcept : space_(other.space_), size_(other.size_) {
    other.size_ = 0;
  }
  FileHandle& operator=(FileHandle other) noexcept {
    std::swap(space_, other.space_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~FileHandle();

  std::string_view bytes() const {
    return {size_ > sizeof space_ ? space_.far : space_.here, size_};
  }
  bool empty() const { return size_ == 0; }

  friend bool operator==(const FileHandle& a, const FileHandle& b) {
    return a.bytes() == b.bytes();
  }
  friend auto operator<=>(const FileHandle& a, const FileHandle& b) {
    return a.bytes() <=> b.bytes();
  }

 private:
  union {
    char here[24];
    char* far;
  } space_ = {};
  uint8_t size_ = 0;
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

// The id of the object that this handle, not empty, is of; a root's is kRootObject instead.
ObjectId ObjectIdOf(const FileHandle& handle);

// Opens by handle; needs CAP_DAC_READ_SEARCH. `mount_fd` is any descriptor on that filesystem.
// ESTALE when the object is gone.
Result<UniqueFd> OpenByHandle(int mount_fd, const FileHandle& handle, int flags);

}  // namespace tandem

template <>
struct std::hash<tandem::FileHandle> {
  size_t operator()(const tandem::FileHandle& handle) const noexcept {
    return std::hash<std::string_view>()(handle.bytes());
  }
};
