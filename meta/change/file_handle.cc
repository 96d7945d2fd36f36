#include "meta/change/file_handle.h"

#include <endian.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <xxhash.h>

#include <algorithm>
#include <atomic>
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

std::atomic<IdForm> id_form{IdForm::kPlaced};

ObjectId HashOf(std::string_view bytes, uint32_t place, IdForm form) {
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  uint64_t high = hash.high64;
  if (form == IdForm::kPlaced) high = uint64_t{place} << 32 | (high & UINT32_MAX);
  // Avoid the null id and kRootObject.
  return high == 0 ? ObjectId(1, hash.low64) : ObjectId(high, hash.low64);
}

// The handles of ext4, XFS and btrfs begin with the inode number, of which this is the lower half.
uint32_t PlaceOf(const FileHandle& handle) {
  const std::string_view bytes = handle.bytes();
  uint32_t place = 0;
  constexpr size_t kType = sizeof(uint32_t);
  if (bytes.size() >= kType + sizeof place) {
    std::memcpy(&place, bytes.data() + kType, sizeof place);
  }
  return le32toh(place);
}

Result<IdentifiedObject> IdentifyByInode(int directory_fd, const char* name, IdForm form) {
  struct statx stat_buffer;
  if (statx(directory_fd, name, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW,
            STATX_INO | STATX_BTIME | STATX_MNT_ID, &stat_buffer) != 0) {
    return ErrnoError(std::string("statx ") + name);
  }
  const uint64_t parts[3] = {stat_buffer.stx_ino,
                             static_cast<uint64_t>(stat_buffer.stx_btime.tv_sec),
                             stat_buffer.stx_btime.tv_nsec};
  const ObjectId id = HashOf({reinterpret_cast<const char*>(parts), sizeof parts},
                             static_cast<uint32_t>(stat_buffer.stx_ino), form);
  return IdentifiedObject{id, {}, static_cast<int>(stat_buffer.stx_mnt_id)};
}

}  // namespace

void SetIdForm(IdForm form) { id_form = form; }

IdForm CurrentIdForm() { return id_form; }

bool IsPlacedAt(const ObjectId& id, uint64_t inode) {
  return id_form == IdForm::kPlaced && id.high() >> 32 == (inode & UINT32_MAX);
}

ObjectId ObjectIdOf(const FileHandle& handle, IdForm form) {
  return HashOf(handle.bytes(), PlaceOf(handle), form);
}

Result<IdentifiedObject> Identify(int directory_fd, const char* name, IdForm form) {
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
      return IdentifyByInode(directory_fd, name, form);
    }
    return ErrnoError(std::string("identify ") + (*name == '\0' ? "descriptor" : name));
  }
  const uint32_t type = htole32(static_cast<uint32_t>(buffer.handle.handle_type));
  char bytes[sizeof type + MAX_HANDLE_SZ];
  std::memcpy(bytes, &type, sizeof type);
  std::memcpy(bytes + sizeof type, buffer.handle.f_handle, buffer.handle.handle_bytes);
  FileHandle handle({bytes, sizeof type + buffer.handle.handle_bytes});
  const ObjectId id = ObjectIdOf(handle, form);
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
