#include "fs/serving/caller_status.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <sstream>
#include <string_view>

#include "meta/base/unique_fd.h"

namespace tandem::fs {
namespace {

// USER_NS_INIT_INO of linux/nsfs.h; the same since Linux 3.8.
constexpr ino_t kInitialUserNamespace = 0xEFFFFFFD;
// The default of /proc/sys/kernel/overflowuid and overflowgid.
constexpr uint64_t kOverflowId = 65534;
constexpr uint64_t kEveryId = uint64_t{1} << 32;

// Returns what was read before an error, if there is one: callers find a field missing.
std::string ReadAll(int directory_fd, const char* name) {
  const UniqueFd fd(openat(directory_fd, name, O_RDONLY | O_CLOEXEC));
  std::string text;
  char part[4096];
  while (fd.valid()) {
    const ssize_t length = read(fd.get(), part, sizeof part);
    if (length <= 0) break;
    text.append(part, static_cast<size_t>(length));
  }
  return text;
}

// Returns the rest of the line that begins with `key`, or nothing. A thread chooses its own name,
// but cannot forge a line with it: the kernel escapes newlines.
std::string Field(const std::string& status, std::string_view key) {
  const size_t found = status.find("\n" + std::string(key));
  if (found == std::string::npos) return {};
  const size_t begin = found + 1 + key.size();
  return status.substr(begin, status.find('\n', begin) - begin);
}

// `ids`: the real, effective, saved and filesystem id. Compares the last.
bool ActsAs(const std::string& ids, uint64_t expected) {
  std::istringstream stream(ids);
  uint64_t for_files = 0;
  for (int i = 0; i < 4; ++i) {
    if (!(stream >> for_files)) return false;
  }
  return for_files == expected;
}

bool IsAlive(const std::string& status) {
  const std::string state = Field(status, "State:");
  return !state.empty() && state.find_first_of("ZX") == std::string::npos;
}

// Returns whether /proc belongs to our PID namespace.
bool ProcNumbersThreadsAsWeDo() {
  static const bool result = [] {
    char self[32] = "";
    const ssize_t length = readlink("/proc/self", self, sizeof self - 1);
    return length > 0 && std::to_string(getpid()) == self;
  }();
  return result;
}

}  // namespace

MappedIds MappedIds::All() {
  MappedIds ids;
  ids.ranges_.push_back({0, kEveryId});
  return ids;
}

MappedIds MappedIds::OurOwn() {
  MappedIds ids;
  ids.ranges_.push_back({0, kOverflowId});
  ids.ranges_.push_back({kOverflowId + 1, kEveryId - kOverflowId - 1});
  return ids;
}

MappedIds MappedIds::Parse(const std::string& text) {
  MappedIds ids;
  std::istringstream stream(text);
  uint64_t inside = 0;
  for (Range range; stream >> inside >> range.first >> range.count;) ids.ranges_.push_back(range);
  return ids;
}

bool MappedIds::Contains(uint64_t id) const {
  return std::ranges::any_of(ranges_, [id](const Range& range) {
    return id >= range.first && id - range.first < range.count;
  });
}

CallerStatus CallerStatus::Of(const fuse_ctx& caller) {
  CallerStatus status(caller.uid, caller.gid);
  if (caller.pid == 0 || !ProcNumbersThreadsAsWeDo()) {
    status.GrantAllIfRoot();
    return status;
  }
  // The descriptor refers to this thread even if its id is reused.
  const UniqueFd directory(
      open(("/proc/" + std::to_string(caller.pid)).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (directory.valid()) status.Read(directory.get());
  return status;
}

CallerStatus::UserNamespace CallerStatus::NamespaceOf(int directory_fd) {
  static const ino_t ours = [] {
    struct stat self;
    // A kernel without user namespaces has no such file: all threads are in the initial one.
    return stat("/proc/self/ns/user", &self) == 0 ? self.st_ino : ino_t{0};
  }();
  if (ours == 0) return UserNamespace::kInitial;
  struct stat found;
  if (fstatat(directory_fd, "ns/user", &found, 0) != 0) return UserNamespace::kUnknown;
  if (found.st_ino == kInitialUserNamespace) return UserNamespace::kInitial;
  return found.st_ino == ours ? UserNamespace::kOurs : UserNamespace::kOther;
}

void CallerStatus::Read(int directory_fd) {
  UserNamespace user_namespace = NamespaceOf(directory_fd);
  if (user_namespace == UserNamespace::kUnknown && uid_ == 0) {
    user_namespace = UserNamespace::kInitial;
  }
  const std::string status = ReadAll(directory_fd, "status");
  if (!IsAlive(status)) return;
  if (!ActsAs(Field(status, "Uid:"), uid_) || !ActsAs(Field(status, "Gid:"), gid_)) {
    if (user_namespace == UserNamespace::kInitial) GrantAllIfRoot();
    return;
  }
  std::istringstream groups(Field(status, "Groups:"));
  for (gid_t group; groups >> group;) groups_.push_back(group);
  if (user_namespace == UserNamespace::kUnknown) return;
  capabilities_ = std::strtoull(Field(status, "CapEff:").c_str(), nullptr, 16);
  if (user_namespace == UserNamespace::kInitial) {
    initial_namespace_ = true;
    uids_ = gids_ = MappedIds::All();
  } else if (user_namespace == UserNamespace::kOurs) {
    uids_ = gids_ = MappedIds::OurOwn();
  } else {
    uids_ = MappedIds::Parse(ReadAll(directory_fd, "uid_map"));
    gids_ = MappedIds::Parse(ReadAll(directory_fd, "gid_map"));
  }
}

void CallerStatus::GrantAllIfRoot() {
  if (uid_ != 0) return;
  capabilities_ = ~uint64_t{0};
  initial_namespace_ = true;
  uids_ = gids_ = MappedIds::All();
}

bool CallerStatus::IsIn(gid_t group) const {
  return group == gid_ || std::ranges::find(groups_, group) != groups_.end();
}

bool CallerStatus::Has(unsigned capability) const {
  return initial_namespace_ && ((capabilities_ >> capability) & 1) != 0;
}

bool CallerStatus::MayActAsOwnerOf(const struct stat& object) const {
  if (object.st_uid == uid_) return true;
  return ((capabilities_ >> CAP_FOWNER) & 1) != 0 && uids_.Contains(object.st_uid);
}

bool CallerStatus::MayKeepSetgidOf(const struct stat& object) const {
  if (IsIn(object.st_gid)) return true;
  return ((capabilities_ >> CAP_FSETID) & 1) != 0 && uids_.Contains(object.st_uid) &&
         gids_.Contains(object.st_gid);
}

}  // namespace tandem::fs
