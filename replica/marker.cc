#include "replica/marker.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "meta/base/unique_fd.h"

namespace tandem::replica {
namespace {

constexpr char kName[] = "applied";
constexpr char kIdentityName[] = "volume";
constexpr int kFormat = 1;
constexpr const char* kStates[] = {"seeding", "applying", "applied"};

Result<std::string> ReadSmall(int directory_fd, const char* path) {
  const UniqueFd fd(openat(directory_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd.valid()) return ErrnoError(std::string("open ") + path);
  char text[4096];
  const ssize_t got = read(fd.get(), text, sizeof text);
  if (got < 0) return ErrnoError(std::string("read ") + path);
  return std::string(text, static_cast<size_t>(got));
}

constexpr int kCreate = O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW;

Status WriteWhole(int fd, const std::string& text, const std::string& name) {
  const ssize_t written = pwrite(fd, text.data(), text.size(), 0);
  if (written < 0) return ErrnoError("write " + name);
  if (static_cast<size_t>(written) != text.size()) return ErrnoError(ENOSPC, "write " + name);
  return {};
}

Status Rename(int directory_fd, const std::string& from, const std::string& to) {
  if (renameat(directory_fd, from.c_str(), directory_fd, to.c_str()) == 0) return {};
  return ErrnoError("rename " + from + " to " + to);
}

// Never seen half written, and durable.
Status WriteDurably(int directory_fd, const std::string& name, const std::string& text) {
  const std::string fresh = name + ".new";
  const UniqueFd fd(openat(directory_fd, fresh.c_str(), kCreate | O_TRUNC, 0644));
  if (!fd.valid()) return ErrnoError("create " + fresh);
  RETURN_IF_ERROR(WriteWhole(fd.get(), text, fresh));
  if (fsync(fd.get()) != 0) return ErrnoError("sync " + fresh);
  RETURN_IF_ERROR(Rename(directory_fd, fresh, name));
  if (fsync(directory_fd) != 0) return ErrnoError("sync directory of " + name);
  return {};
}

// Writes `text` into the file unless somebody else has it open: a write lease is granted to its
// only opener (fcntl(2)), and makes others wait who open it meanwhile.
bool WriteUnseen(int fd, const std::string& text) {
  struct stat status = {};
  // Who breaks a lease has SIGIO sent to its holder, which ends a process; this one is ignored.
  if (fcntl(fd, F_SETSIG, SIGURG) != 0 || fcntl(fd, F_SETLEASE, F_WRLCK) != 0) return false;
  const auto size = static_cast<off_t>(text.size());
  const bool written = pwrite(fd, text.data(), text.size(), 0) == size && fstat(fd, &status) == 0 &&
                       (status.st_size == size || ftruncate(fd, size) == 0);
  return fcntl(fd, F_SETLEASE, F_UNLCK) == 0 && written;
}

// Never seen half written. Two files take turns under the name: it changes twice with every cut,
// and a file that is created costs an inode, and on ext4, where it replaces another, a write to the
// disk.
Status Replace(int directory_fd, const std::string& name, const std::string& text) {
  const std::string other = name + ".new";
  // O_NONBLOCK: whatever stands there, it is not waited for.
  UniqueFd fd(openat(directory_fd, other.c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!fd.valid() || !WriteUnseen(fd.get(), text)) {
    if (unlinkat(directory_fd, other.c_str(), 0) != 0 && errno != ENOENT) {
      return ErrnoError("remove " + other);
    }
    fd.Reset(openat(directory_fd, other.c_str(), kCreate | O_EXCL, 0644));
    if (!fd.valid()) return ErrnoError("create " + other);
    RETURN_IF_ERROR(WriteWhole(fd.get(), text, other));
  }
  if (renameat2(directory_fd, other.c_str(), directory_fd, name.c_str(), RENAME_EXCHANGE) == 0) {
    return {};
  }
  // It is not there yet, or this filesystem cannot exchange.
  return Rename(directory_fd, other, name);
}

// A volume's name need not be UTF-8.
std::string ToText(const nlohmann::json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

std::string TextAt(const nlohmann::json& json, const char* key) {
  const auto value = json.find(key);
  return value != json.end() && value->is_string() ? value->get<std::string>() : std::string();
}

const std::string& BootId() {
  static const std::string id = [] {
    std::string text = ReadSmall(AT_FDCWD, "/proc/sys/kernel/random/boot_id").value_or("");
    while (!text.empty() && text.back() == '\n') text.pop_back();
    return text;
  }();
  return id;
}

}  // namespace

Status WriteIdentity(int volume_fd, const VolumeIdentity& identity) {
  const nlohmann::json json = {
      {"format", kFormat}, {"volume", identity.volume.ToHex()}, {"name", identity.name}};
  return WriteDurably(volume_fd, kIdentityName, ToText(json));
}

Result<VolumeIdentity> ReadIdentity(int volume_fd) {
  ASSIGN_OR_RETURN(const std::string text, ReadSmall(volume_fd, kIdentityName));
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object()) return MakeError(ErrorKind::kCorrupt, "read file volume (no JSON object)");
  const auto volume = VolumeId::FromHex(TextAt(json, "volume"));
  const auto format = json.find("format");
  if (!volume || format == json.end() || *format != kFormat) {
    return MakeError(ErrorKind::kCorrupt, "read file volume (of another format)");
  }
  return VolumeIdentity{*volume, TextAt(json, "name")};
}

Status WriteMarker(int volume_fd, const Marker& marker) {
  const nlohmann::json json = {{"state", kStates[static_cast<int>(marker.state)]},
                               {"volume", marker.identity.volume.ToHex()},
                               {"name", marker.identity.name},
                               {"epoch", marker.cut.name.epoch.number()},
                               {"cut", marker.cut.name.id.ToHex()},
                               {"wall_time_ns", marker.cut.wall_time_ns},
                               {"boot", BootId()}};
  return Replace(volume_fd, kName, ToText(json));
}

std::optional<Marker> ReadMarker(int volume_fd) {
  const auto json = nlohmann::json::parse(ReadSmall(volume_fd, kName).value_or(""), nullptr, false);
  if (!json.is_object()) return std::nullopt;
  const auto volume = VolumeId::FromHex(TextAt(json, "volume"));
  const auto cut = CutId::FromHex(TextAt(json, "cut"));
  const auto epoch = json.find("epoch");
  if (!volume || !cut || epoch == json.end() || !epoch->is_number_unsigned()) return std::nullopt;
  Marker marker;
  marker.identity = {*volume, TextAt(json, "name")};
  marker.cut.name = {Epoch(epoch->get<uint64_t>()), *cut};
  for (int state = 0; state < 3; ++state) {
    if (TextAt(json, "state") == kStates[state]) marker.state = static_cast<TreeState>(state);
  }
  return marker;
}

}  // namespace tandem::replica
