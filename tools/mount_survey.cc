#include "tools/mount_survey.h"

#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <filesystem>
#include <future>
#include <map>

#include "meta/base/mount_table.h"

namespace tandem::tools {
namespace {

using Clock = std::chrono::steady_clock;

// During a takeover neither tandemfs holds the lock for a moment. Status shows what it finds then;
// other commands are for the one that comes.
constexpr std::chrono::milliseconds kTakeoverTimeout{1000};
constexpr std::chrono::milliseconds kPatienceOfCommands{5000};

bool IsOurs(const MountedFilesystem& mount) {
  constexpr std::string_view kOwner = "user_id=";
  if (mount.type != kMountType) return false;
  const size_t at = ("," + mount.options).find("," + std::string(kOwner));
  if (at == std::string::npos) return false;
  const char* const end = mount.options.data() + mount.options.size();
  uid_t user = 0;
  const auto read = std::from_chars(mount.options.data() + at + kOwner.size(), end, user);
  return read.ec == std::errc() && user == geteuid();
}

// Returns whether a tandemfs that was started with another XDG_RUNTIME_DIR serves the mount.
bool IsServedElsewhere(const std::string& mountpoint) {
  const std::string user = std::to_string(geteuid());
  for (const std::string& directory :
       {"/run/user/" + user + "/tandemfs", "/tmp/tandemfs-" + user}) {
    if (ControlIsServed(ControlSocket(directory, mountpoint))) return true;
  }
  return false;
}

// Returns one mount for each filesystem: the place where it is served, or the first one.
std::vector<SurveyedMount> OnePerFilesystem(const std::vector<MountedFilesystem>& table,
                                            const std::string& directory) {
  std::map<std::string, SurveyedMount> by_device;
  for (const MountedFilesystem& place : table) {
    if (!IsOurs(place)) continue;
    const std::string socket = ControlSocket(directory, place.path);
    const SurveyedMount mount{place.path, place.source, socket, ControlIsServed(socket)};
    if (!mount.served && IsServedElsewhere(place.path)) continue;
    const auto [known, is_new] = by_device.emplace(place.device, mount);
    if (!is_new && mount.served) known->second = mount;
  }
  std::vector<SurveyedMount> mounts;
  for (auto& [device, mount] : by_device) mounts.push_back(std::move(mount));
  return mounts;
}

// Waits until a tandemfs serves the mount. Returns false after `timeout`.
bool ComesToBeServed(const SurveyedMount& mount, std::chrono::milliseconds timeout) {
  const auto deadline = Clock::now() + timeout;
  const timespec pause{0, 20'000'000};
  while (!ControlIsServed(mount.socket)) {
    if (Clock::now() >= deadline) return false;
    nanosleep(&pause, nullptr);
  }
  return true;
}

bool IsStillMounted(const SurveyedMount& mount) {
  const auto table = ReadMountTable();
  if (!table) return true;
  return std::ranges::any_of(*table, [&mount](const MountedFilesystem& place) {
    return place.path == mount.mountpoint && IsOurs(place);
  });
}

Json WithoutAnswer(const SurveyedMount& mount, const char* what) {
  return {{"mountpoint", mount.mountpoint},
          {"source", mount.source},
          {"mount", what},
          {"socket", mount.socket}};
}

}  // namespace

Result<std::vector<SurveyedMount>> SurveyMounts() {
  ASSIGN_OR_RETURN(const std::string directory, ControlDirectory(/*create=*/false));
  ASSIGN_OR_RETURN(const auto table, ReadMountTable());
  ASSIGN_OR_RETURN(const auto sockets, AllControlSockets());
  std::vector<SurveyedMount> mounts = OnePerFilesystem(table, directory);
  std::ranges::sort(mounts, {}, &SurveyedMount::mountpoint);
  // Mounts that were moved, or are in another mount namespace.
  for (const std::string& socket : sockets) {
    if (std::ranges::find(mounts, socket, &SurveyedMount::socket) != mounts.end()) continue;
    mounts.push_back({"", "", socket, true});
  }
  return mounts;
}

Result<SurveyedMount> FindMount(const std::string& path) {
  ASSIGN_OR_RETURN(const auto mounts, SurveyMounts());
  // Compares the path as it is spelt first: to resolve symlinks sends requests to mounts.
  std::error_code error;
  const auto spelt = std::filesystem::absolute(path, error).lexically_normal() / "";
  const SurveyedMount* deepest = nullptr;
  for (const SurveyedMount& mount : mounts) {
    if (!mount.mountpoint.empty() && spelt.string().starts_with(mount.mountpoint + "/")) {
      deepest = &mount;  // mounts are sorted
    }
  }
  if (deepest != nullptr) return *deepest;
  auto socket = FindControlSocket(path);
  if (!socket) {
    // A dead mount whose socket was removed.
    const auto dead = std::ranges::find(mounts, AbsolutePath(path), &SurveyedMount::mountpoint);
    if (dead != mounts.end()) return *dead;
    return tl::unexpected<Error>(std::move(socket.error()));
  }
  const auto found = std::ranges::find(mounts, *socket, &SurveyedMount::socket);
  return found != mounts.end() ? *found : SurveyedMount{"", "", *socket, true};
}

Result<std::string> FindServedSocket(const std::string& path) {
  ASSIGN_OR_RETURN(const SurveyedMount mount, FindMount(path));
  if (!mount.served) (void)ComesToBeServed(mount, kPatienceOfCommands);
  return mount.socket;  // to ask there tells what is wrong
}

Result<Json> AskStatus(const SurveyedMount& mount, int timeout_ms) {
  if (!mount.served && !ComesToBeServed(mount, kTakeoverTimeout)) {
    return IsStillMounted(mount) ? WithoutAnswer(mount, "dead") : Json();
  }
  auto status = AskControl(mount.socket, {{"op", "status"}}, timeout_ms);
  if (status) {
    (*status)["mount"] = "live";
    return status;
  }
  if (status.error().kind() != ErrorKind::kUnreachable) return status;
  if (ControlIsServed(mount.socket)) return WithoutAnswer(mount, "stuck");
  if (mount.mountpoint.empty()) return status;
  return IsStillMounted(mount) ? WithoutAnswer(mount, "dead") : Json();
}

std::vector<Result<Json>> AskStatuses(const std::vector<SurveyedMount>& mounts, int timeout_ms) {
  // Without enough threads, the rest is asked one after the other.
  constexpr auto kBestEffort = std::launch::async | std::launch::deferred;
  std::vector<std::future<Result<Json>>> asked;
  for (const SurveyedMount& mount : mounts) {
    asked.push_back(
        std::async(kBestEffort, [&mount, timeout_ms] { return AskStatus(mount, timeout_ms); }));
  }
  std::vector<Result<Json>> answers;
  for (auto& answer : asked) answers.push_back(answer.get());
  return answers;
}

int StatusExitCode(const std::vector<Json>& statuses) {
  int code = kAllIsWell;
  for (const Json& status : statuses) {
    const std::string mount = status.value("mount", "");
    if (mount == "dead") code = std::max(code, kMountIsDead);
    if (mount == "stuck") code = std::max(code, kMountIsStuck);
    for (const Json& replica : status.value("replicas", Json::array())) {
      if (replica.value("state", "") == "blocked") code = std::max(code, kReplicaIsBlocked);
    }
  }
  return code;
}

}  // namespace tandem::tools
