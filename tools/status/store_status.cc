#include "tools/status/store_status.h"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <filesystem>
#include <vector>

#include "meta/base/unique_fd.h"
#include "replica/apply/marker.h"
#include "tools/mount_survey.h"
#include "tools/print.h"
#include "tools/status/print_status.h"

namespace tandem::tools {
namespace {

bool Has(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

Json ReadVolume(const std::string& path, const std::string& account) {
  Json volume = {{"account", account},
                 {"volume", std::filesystem::path(path).filename().string()},
                 {"state", "unknown"}};
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  const auto marker = fd.valid() ? replica::ReadMarker(fd.get()) : std::nullopt;
  if (!marker) return volume;
  constexpr int64_t kNanoseconds = 1'000'000'000;
  volume["state"] = NameOf(marker->state);
  volume["epoch"] = marker->cut.name.epoch.number();
  if (marker->cut.name.epoch == Epoch()) return volume;
  const int64_t cut_time = marker->cut.wall_time_ns / kNanoseconds;
  volume["cut_time"] = cut_time;
  volume["age_seconds"] = std::max<int64_t>(0, time(nullptr) - cut_time);
  return volume;
}

// Returns the names of directories in it, sorted; those that begin with a dot are tandemd's own.
Result<std::vector<std::string>> Directories(const std::string& path) {
  std::vector<std::string> names;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(path, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    std::error_code ignored;
    if (!name.starts_with('.') && entry->is_directory(ignored)) names.push_back(name);
  }
  if (error) {
    return MakeError(ErrorKind::kUsage,
                     "read store " + path + " (" + error.message() + "): its owner and root may",
                     error.value());
  }
  std::ranges::sort(names);
  return names;
}

}  // namespace

Result<Json> ReadStoreStatus(const std::string& store) {
  ASSIGN_OR_RETURN(const auto names, Directories(store));
  if (!Has(store + "/.lock")) {
    return MakeError(ErrorKind::kUsage, store + " is no store of tandemd (it has no .lock)");
  }
  Json volumes = Json::array();
  for (const std::string& name : names) {
    const std::string path = store + "/" + name;
    if (!Has(path + "/account")) {
      if (Has(path + "/volume")) volumes.push_back(ReadVolume(path, ""));
      continue;
    }
    ASSIGN_OR_RETURN(const auto of_account, Directories(path));
    for (const std::string& volume : of_account) {
      if (Has(path + "/" + volume + "/volume")) {
        volumes.push_back(ReadVolume(path + "/" + volume, name));
      }
    }
  }
  Json status = {{"store", store}, {"volumes", volumes}};
  struct statvfs room {};
  if (statvfs(store.c_str(), &room) == 0) {
    status["free_bytes"] = uint64_t{room.f_bavail} * room.f_frsize;
    status["total_bytes"] = uint64_t{room.f_blocks} * room.f_frsize;
  }
  return status;
}

Result<int> PrintStoreStatus(const std::string& store, bool json) {
  ASSIGN_OR_RETURN(const Json status, ReadStoreStatus(store));
  if (json) {
    PrintJson(status);
  } else {
    PrintLine("store {}: {} of {} free", store, BytesText(status.value("free_bytes", uint64_t{0})),
              BytesText(status.value("total_bytes", uint64_t{0})));
    if (status["volumes"].empty()) PrintLine("  no volume");
    for (const Json& volume : status["volumes"]) {
      const std::string account = volume.value("account", "");
      const auto age = volume.find("age_seconds");
      PrintLine("  {}{}: {}, cut {}{}", account.empty() ? "" : account + "/",
                volume.value("volume", ""), volume.value("state", ""),
                volume.value("epoch", uint64_t{0}),
                age == volume.end() ? "" : ", " + TimeText(age->get<double>()) + " old");
    }
  }
  RETURN_IF_ERROR(FlushOutput());
  return kAllIsWell;
}

}  // namespace tandem::tools
