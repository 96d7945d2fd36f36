#include "meta/change/file_handle.h"

#include <endian.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <xxhash.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <string>
#include <thread>

namespace tandem {

FileHandle::FileHandle(std::string_view bytes) {
  if (bytes.size() > UINT8_MAX) return;
  size_ = static_cast<uint8_t>(bytes.size());
  if (bytes.size() > sizeof space_) space_.far = new char[bytes.size()];
  std::copy(bytes.begin(), bytes.end(), bytes.size() > sizeof space_ ? space_.far : space_.here);
  // The analyzer does not follow the pointer through copies of the union.
}  // NOLINT(clang-analyzer-cplusplus.NewDeleteLeaks)

FileHandle::~FileHandle() {
  if (size_ > sizeof space_) delete[] space_.far;
}

namespace {

// The pauses between attempts to open an inode that may be being created, about half a second in
// all.
constexpr std::chrono::microseconds kFirstPause{100};
constexpr std::chrono::milliseconds kLongestPause{250};

// Since Linux 6.5: asks for a handle that identifies an object but cannot be opened.
#ifndef AT_HANDLE_FID
#define AT_HANDLE_FID 0x200
#endif

ObjectId HashOf(std::string_view bytes) {
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  // Avoid the null id and kRootObject.
  return hash.high64 == 0 ? ObjectId(1, hash.low64) : ObjectId(hash.high64, hash.low64);
}

Result<IdentifiedObject> IdentifyByInode(int directory_fd, const char* name) {
  struct statx stat_buffer;
  if (statx(directory_fd, name, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW,
            STATX_INO | STATX_BTIME | STATX_MNT_ID, &stat_buffer) != 0) {
    return ErrnoError(std::string("statx ") + name);
  }
  const uint64_t parts[3] = {stat_buffer.stx_ino,
                             static_cast<uint64_t>(stat_buffer.stx_btime.tv_sec),
                             stat_buffer.stx_btime.tv_nsec};
  return IdentifiedObject{HashOf({reinterpret_cast<const char*>(parts), sizeof parts}),
                          {},
                          static_cast<int>(stat_buffer.stx_mnt_id)};
}

}  // namespace

ObjectId ObjectIdOf(const FileHandle& handle) { return HashOf(handle.bytes()); }

Result<IdentifiedObject> Identify(int directory_fd, const char* name) {
  union {
    file_handle handle;
    char space[sizeof(file_handle) + MAX_HANDLE_SZ];
  } buffer;
  buffer.handle.handle_bytes = MAX_HANDLE_SZ;
  const int flags = *name == '\0' ? AT_EMPTY_PATH : 0;
  int mount_id = 0;
  int result = name_to_handle_at(directory_fd, name, &buffer.handle, &mount_id, flags);
  if (result != 0 && errno == EOPNOTSUPP) {
    buffer.handle.handle_bytes = MAX_HANDLE_SZ;
    result =
        name_to_handle_at(directory_fd, name, &buffer.handle, &mount_id, flags | AT_HANDLE_FID);
  }
  if (result != 0) {
    if (errno == EOPNOTSUPP || errno == EOVERFLOW || errno == EINVAL) {
      return IdentifyByInode(directory_fd, name);
    }
    return ErrnoError(std::string("identify ") + (*name == '\0' ? "descriptor" : name));
  }
  const uint32_t type = htole32(static_cast<uint32_t>(buffer.handle.handle_type));
  char bytes[sizeof type + MAX_HANDLE_SZ];
  std::memcpy(bytes, &type, sizeof type);
  std::memcpy(bytes + sizeof type, buffer.handle.f_handle, buffer.handle.handle_bytes);
  FileHandle handle({bytes, sizeof type + buffer.handle.handle_bytes});
  const ObjectId id = ObjectIdOf(handle);
  return IdentifiedObject{id, std::move(handle), mount_id};
}

Result<UniqueFd> OpenByHandle(int mount_fd, const FileHandle& handle, int flags) {
  const std::string_view bytes = handle.bytes();
  uint32_t type = 0;
  if (bytes.size() < sizeof type || bytes.size() > sizeof type + MAX_HANDLE_SZ) {
    return ErrnoError(EOPNOTSUPP, "open by handle");
  }
  union {
    file_handle handle;
    char space[sizeof(file_handle) + MAX_HANDLE_SZ];
  } buffer;
  std::memcpy(&type, bytes.data(), sizeof type);
  buffer.handle.handle_type = static_cast<int>(le32toh(type));
  buffer.handle.handle_bytes = static_cast<unsigned>(bytes.size() - sizeof type);
  std::memcpy(buffer.handle.f_handle, bytes.data() + sizeof type, buffer.handle.handle_bytes);
  // ext4 also returns ENOMEM while an inode of that number is being created (the object is gone and
  // its number is reused), because iget_locked in the kernel's fs/inode.c reports every failure as
  // NULL. Creation takes milliseconds, unless it waits for the journal.
  for (std::chrono::microseconds pause = kFirstPause;; pause *= 2) {
    const int fd = open_by_handle_at(mount_fd, &buffer.handle, flags | O_CLOEXEC);
    if (fd >= 0) return UniqueFd(fd);
    if (errno != ENOMEM || pause > kLongestPause) return ErrnoError("open by handle");
    std::this_thread::sleep_for(pause);
  }
}

}  // namespace tandem
