// File handles: the backing filesystem's names for objects, which renames do not change
// (name_to_handle_at(2)). Any thread.
#pragma once

#include <compare>
#include <cstdint>
#include <string_view>
#include <utility>

#include "meta/base/ids.h"
#include "meta/base/result.h"
#include "meta/base/unique_fd.h"

namespace tandem {

// Opaque bytes: the handle's type (4 bytes, little endian), then the handle. Empty if the object
// has no handle. There is one in memory for every inode the kernel caches, so handles of up to 24
// bytes (ext4, xfs and btrfs need 12, 16 and 24) are stored inline. Longer ones (network
// filesystems) are on the heap.
class FileHandle {
 public:
  FileHandle() = default;
  // The kernel's handles have at most 132 bytes with the type. More than 255 bytes are not a handle
  // and give an empty one.
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

// How ids are made of handles. All ids of a volume are of one form.
enum class IdForm {
  kHash,  // all 128 bits are a hash: volumes whose state was first of schema 3 or older
  // The first 32 bits are of the inode number and the others of the hash. Objects that were made
  // together have ids close to each other, so databases keep them together.
  kPlaced,
};
// Sets the form of all ids that this process makes, where nothing else is said. Called before there
// are any. Initially kPlaced.
void SetIdForm(IdForm form);
IdForm CurrentIdForm();

// Returns whether the id is placed, and may be of the inode with this number: as far as ids tell.
bool IsPlacedAt(const ObjectId& id, uint64_t inode);

struct IdentifiedObject {
  ObjectId id;
  FileHandle handle;
  int mount_id = 0;  // the mount through which the object was reached
};

// Identifies the object that `name` in the directory leads to, without following a symlink. If
// `name` is empty, identifies the object `directory_fd` is open on. On a filesystem without handles
// the id is made of inode number and birth time, and the handle is empty. Never returns
// kRootObject: the caller knows its root.
Result<IdentifiedObject> Identify(int directory_fd, const char* name,
                                  IdForm form = CurrentIdForm());

// Returns the id of the object that has this handle. Requires that `handle` is not empty. For the
// root of a volume, use kRootObject instead.
ObjectId ObjectIdOf(const FileHandle& handle, IdForm form = CurrentIdForm());

// Opens an object by its handle. Requires CAP_DAC_READ_SEARCH. `mount_fd` is any descriptor on that
// filesystem. Returns ESTALE if the object is gone.
Result<UniqueFd> OpenByHandle(int mount_fd, const FileHandle& handle, int flags);

}  // namespace tandem

template <>
struct std::hash<tandem::FileHandle> {
  size_t operator()(const tandem::FileHandle& handle) const noexcept {
    return std::hash<std::string_view>()(handle.bytes());
  }
};
