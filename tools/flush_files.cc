#include "tools/flush_files.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <iostream>
#include <iterator>
#include <optional>
#include <sstream>

#include "meta/base/hex.h"
#include "meta/base/log.h"
#include "meta/base/unique_fd.h"
#include "tools/mount_by_device.h"

namespace tandem::tools {
namespace {

// ---- The process that syncs --------------------------------------------------------------------

// The kernel's handle of a FUSE object (fs/fuse/inode.c, fuse_encode_fh): FILEID_INO64_GEN.
UniqueFd OpenByNode(int mount_fd, const fs::WritableFile& file) {
  constexpr int kInode64AndGeneration = 0x81;
  constexpr int kHalf = 32;
  const uint32_t words[3] = {static_cast<uint32_t>(file.node >> kHalf),
                             static_cast<uint32_t>(file.node),
                             static_cast<uint32_t>(file.generation)};
  union {
    file_handle handle;
    char space[sizeof(file_handle) + sizeof words];
  } buffer;
  buffer.handle.handle_bytes = sizeof words;
  buffer.handle.handle_type = kInode64AndGeneration;
  std::memcpy(buffer.handle.f_handle, words, sizeof words);
  return UniqueFd(open_by_handle_at(mount_fd, &buffer.handle, O_RDONLY | O_CLOEXEC));
}

// Returns 0 or an errno.
int SyncOne(const UniqueFd& root, const fs::WritableFile& file, bool with_times) {
  UniqueFd fd = OpenByNode(root.get(), file);
  if (!fd.valid() && errno == ESTALE) return 0;  // closed, and forgotten: nothing is writable
  if (!fd.valid() && errno == EPERM && !file.path.empty()) {
    fd.Reset(openat(root.get(), file.path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
    if (!fd.valid() && errno == EACCES) {
      fd.Reset(openat(root.get(), file.path.c_str(), O_WRONLY | O_NOFOLLOW | O_CLOEXEC));
    }
  }
  if (!fd.valid()) return errno;
  constexpr unsigned kAll =
      SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
  // sync_file_range writes pages back but syncs no disk, and does not send times.
  const int result = with_times ? fsync(fd.get()) : sync_file_range(fd.get(), 0, 0, kAll);
  return result == 0 ? 0 : errno;
}

// ---- The process that starts it
// ---------------------------------------------------------------------

class Helper {
 public:
  static std::optional<Helper> Start() {
    int to_child[2];
    int from_child[2];
    if (pipe2(to_child, O_CLOEXEC) != 0) return std::nullopt;
    Helper helper;
    helper.in_.Reset(to_child[1]);
    const UniqueFd child_in(to_child[0]);
    if (pipe2(from_child, O_CLOEXEC) != 0) return std::nullopt;
    helper.out_.Reset(from_child[0]);
    const UniqueFd child_out(from_child[1]);
    if (!helper.Spawn(child_in.get(), child_out.get())) return std::nullopt;
    return helper;
  }
  Helper(Helper&& other) noexcept
      : in_(std::move(other.in_)),
        out_(std::move(other.out_)),
        child_(std::exchange(other.child_, 0)) {}
  Helper& operator=(Helper&&) = delete;
  // It may wait for a disk and not end at once. Then it is not reaped.
  ~Helper() {
    if (child_ == 0) return;
    kill(child_, SIGKILL);
    waitpid(child_, nullptr, out_at_end_ ? 0 : WNOHANG);
  }

  // Sends the request. The process reads all of it before it does anything.
  void Tell(const std::string& request) {
    for (size_t done = 0; done < request.size();) {
      const ssize_t count = write(in_.get(), request.data() + done, request.size() - done);
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) break;
      done += static_cast<size_t>(count);
    }
    in_.Reset();
  }

  // Returns the next line of its output, or nullopt at the end or at the deadline.
  std::optional<std::string> NextLine(std::chrono::steady_clock::time_point deadline) {
    while (true) {
      if (const size_t end = text_.find('\n'); end != std::string::npos) {
        std::string line = text_.substr(0, end);
        text_.erase(0, end + 1);
        return line;
      }
      const auto left =
          std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
      pollfd ready = {out_.get(), POLLIN, 0};
      const int64_t wait = std::clamp<int64_t>(left.count(), 0, INT32_MAX);
      const int count = poll(&ready, 1, static_cast<int>(wait));
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) return std::nullopt;
      char buffer[4096];
      const ssize_t length = read(out_.get(), buffer, sizeof buffer);
      out_at_end_ = length == 0;
      if (length <= 0) return std::nullopt;
      text_.append(buffer, static_cast<size_t>(length));
    }
  }

 private:
  Helper() = default;

  // In a process group of its own, so that Ctrl-C does not end it.
  bool Spawn(int in, int out) {
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_adddup2(&files, in, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&files, out, STDOUT_FILENO);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    char name[] = "tandem-flush";
    char argument[sizeof kFlushHelperArgument];
    std::memcpy(argument, kFlushHelperArgument, sizeof argument);
    char* const arguments[] = {name, argument, nullptr};
    const int result =
        posix_spawn(&child_, "/proc/self/exe", &files, &attributes, arguments, environ);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
    if (result != 0) child_ = 0;
    return result == 0;
  }

  UniqueFd in_;
  UniqueFd out_;
  pid_t child_ = 0;
  std::string text_;
  bool out_at_end_ = false;
};

}  // namespace

// Reads the request as JSON and prints "INDEX ERRNO" after each file.
int RunFlushHelper() {
  signal(SIGPIPE, SIG_DFL);
  const std::string text{std::istreambuf_iterator<char>(std::cin), {}};
  const auto writable = WritableFilesFrom(Json::parse(text, nullptr, /*allow_exceptions=*/false));
  if (!writable) return EXIT_FAILURE;
  const UniqueFd root = OpenOnDevice(writable->device, writable->mountpoint);
  if (!root.valid()) return EXIT_FAILURE;
  for (size_t i = 0; i < writable->files.size(); ++i) {
    std::cout << i << " " << SyncOne(root, writable->files[i], writable->with_times) << std::endl;
  }
  return EXIT_SUCCESS;
}

std::vector<fs::WritableFile> FlushFiles(const fs::WritableFiles& writable,
                                         std::chrono::steady_clock::time_point deadline) {
  if (writable.files.empty()) return {};
  auto helper = Helper::Start();
  if (!helper) {
    LogError("{}", ErrnoError("start the process that syncs open files").value().ToString());
    return writable.files;
  }
  helper->Tell(ToJson(writable).dump());
  std::vector<bool> synced(writable.files.size(), false);
  while (const auto line = helper->NextLine(deadline)) {
    size_t index = 0;
    int code = 0;
    std::istringstream(*line) >> index >> code;
    if (index >= synced.size()) break;
    synced[index] = code == 0;
    if (code == 0) continue;
    LogWarning("flush {}: {}", writable.files[index].path, strerror(code));
  }
  std::vector<fs::WritableFile> missed;
  for (size_t i = 0; i < synced.size(); ++i) {
    if (!synced[i]) missed.push_back(writable.files[i]);
  }
  return missed;
}

Json ToJson(const fs::WritableFiles& writable) {
  Json files = Json::array();
  for (const fs::WritableFile& file : writable.files) {
    files.push_back({file.node, file.generation, ToHex(file.path)});
  }
  return {{"device", writable.device},
          {"mountpoint", ToHex(writable.mountpoint)},
          {"with_times", writable.with_times},
          {"files", std::move(files)}};
}

Result<fs::WritableFiles> WritableFilesFrom(const Json& json) {
  const auto malformed = [] {
    return MakeError(ErrorKind::kProtocol, "the list of open files is malformed");
  };
  try {
    fs::WritableFiles writable;
    writable.device = json.at("device").get<std::string>();
    const auto mountpoint = FromHex(json.at("mountpoint").get<std::string>());
    if (!mountpoint) return malformed();
    writable.mountpoint = *mountpoint;
    writable.with_times = json.at("with_times").get<bool>();
    for (const Json& file : json.at("files")) {
      const auto path = FromHex(file.at(2).get<std::string>());
      if (!path) return malformed();
      writable.files.push_back({file.at(0).get<uint64_t>(), file.at(1).get<uint64_t>(), *path});
    }
    return writable;
  } catch (const Json::exception&) {
    return malformed();
  }
}

}  // namespace tandem::tools
