#include "replica/apply/marker.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "meta/base/boot_id.h"
#include "meta/base/fault_point.h"
#include "meta/base/private_files.h"
#include "meta/base/replace_file.h"
#include "meta/base/unique_fd.h"
#include "replica/apply/file_data.h"
#include "replica/apply/spare_file.h"

namespace tandem::replica {
namespace {

constexpr char kName[] = "applied";
constexpr char kSpareName[] = "applied.spare";
constexpr char kIdentityName[] = "volume";
// All markers of a volume take the same number of blocks, so that one can be written over another.
constexpr size_t kMarkerBytes = 1024;
constexpr size_t kLongMarkerBytes = 4096;
constexpr int kFormat = 1;
// Readers of the tree may read the marker, if the directories above admit them.
constexpr mode_t kMarkerMode = 0644;
constexpr const char* kStates[] = {"seeding", "applying", "applied"};

Result<std::string> ReadSmall(int directory_fd, const char* path) {
  const UniqueFd fd(openat(directory_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd.valid()) return ErrnoError(std::string("open ") + path);
  char text[4096];
  const ssize_t got = read(fd.get(), text, sizeof text);
  if (got < 0) return ErrnoError(std::string("read ") + path);
  return std::string(text, static_cast<size_t>(got));
}

// Writes the marker on a full disk: the spare file is written in place and exchanged with the
// marker, which becomes the spare. The spare is synced before, because its old text must not come
// back under the marker's name. A program that has kept a marker open since before the previous one
// sees it change.
Status ReplaceBySpare(int directory_fd, const std::string& text, bool durable) {
  const UniqueFd fd(openat(directory_fd, kSpareName, O_WRONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd.valid()) return ErrnoError(std::string("open ") + kSpareName);
  RETURN_IF_ERROR(WriteFully(fd.get(), text, 0));
  FAULT_POINT("replica.marker.spare_written");
  if (fdatasync(fd.get()) != 0) return ErrnoError(std::string("sync ") + kSpareName);
  if (fchmod(fd.get(), kMarkerMode) != 0) {
    return ErrnoError(std::string("set mode of ") + kSpareName);
  }
  if (renameat2(directory_fd, kSpareName, directory_fd, kName, RENAME_EXCHANGE) != 0 &&
      ((errno != ENOENT && errno != EINVAL) ||
       renameat(directory_fd, kSpareName, directory_fd, kName) != 0)) {
    return ErrnoError(std::string("exchange ") + kSpareName + " and " + kName);
  }
  FAULT_POINT("replica.marker.spare_exchanged");
  (void)fchmodat(directory_fd, kSpareName, kPrivateFile, 0);
  if (durable && fsync(directory_fd) != 0) return ErrnoError("sync directory of the marker");
  return {};
}

// Returns the size that all markers of a volume of this name fit into.
size_t MarkerBytes(const std::string& name) {
  constexpr size_t kAllElse = 512;
  constexpr size_t kEscaped = 6;  // at most so many bytes for one in JSON
  return name.size() * kEscaped + kAllElse <= kMarkerBytes ? kMarkerBytes : kLongMarkerBytes;
}

// Pads with blanks, which JSON ignores.
std::string Padded(std::string text, size_t size) {
  if (text.size() < size) text.insert(text.size() - 1, size - text.size(), ' ');
  return text;
}

// Replaces invalid bytes, because a volume's name need not be UTF-8.
std::string ToText(const nlohmann::json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

std::string TextAt(const nlohmann::json& json, const char* key) {
  const auto value = json.find(key);
  return value != json.end() && value->is_string() ? value->get<std::string>() : std::string();
}

}  // namespace

Status WriteIdentity(int volume_fd, const VolumeIdentity& identity) {
  const nlohmann::json json = {
      {"format", kFormat}, {"volume", identity.volume.ToHex()}, {"name", identity.name}};
  return ReplaceFile(volume_fd, kIdentityName, ToText(json), kPrivateFile, /*durably=*/true);
}

Result<VolumeIdentity> ReadIdentity(int volume_fd) {
  ASSIGN_OR_RETURN(const std::string text, ReadSmall(volume_fd, kIdentityName));
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object()) return MakeError(ErrorKind::kCorrupt, "read file volume (no JSON object)");
  const auto volume = VolumeId::FromHex(TextAt(json, "volume"));
  const auto format = json.find("format");
  if (!volume || format == json.end() || *format != kFormat) {
    return MakeError(ErrorKind::kCorrupt, "read file volume (unknown format)");
  }
  return VolumeIdentity{*volume, TextAt(json, "name")};
}

const char* NameOf(TreeState state) { return kStates[static_cast<int>(state)]; }

Status WriteMarker(int volume_fd, const Marker& marker, bool durably) {
  const nlohmann::json json = {{"state", NameOf(marker.state)},
                               {"volume", marker.identity.volume.ToHex()},
                               {"name", marker.identity.name},
                               {"epoch", marker.cut.name.epoch.number()},
                               {"cut", marker.cut.name.id.ToHex()},
                               {"wall_time_ns", marker.cut.wall_time_ns},
                               {"boot", BootId()},
                               {"writing", CutId::Random().ToHex()}};
  const std::string text = Padded(ToText(json), MarkerBytes(marker.identity.name));
  // The marker is not rewritten in place. Unsynced, it might have its older text after a power cut,
  // under a name that lasted, and say "applied" while the tree is in the middle of a redo.
  auto replaced = ReplaceFile(volume_fd, kName, text, kMarkerMode, durably);
  if (replaced || !MeansNoRoom(replaced.error())) return replaced;
  (void)unlinkat(volume_fd, (std::string(kName) + ".new").c_str(), 0);
  auto by_spare = ReplaceBySpare(volume_fd, text, durably);
  if (!by_spare && by_spare.error().code() == ENOENT) return replaced;  // there is no spare file
  return by_spare;
}

Status PrepareMarker(int volume_fd, const VolumeIdentity& identity) {
  const size_t bytes = MarkerBytes(identity.name);
  return MakeSpare(volume_fd, kSpareName, bytes, kPrivateFile);
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
  if (marker.cut.name.epoch > kNewestEpoch) return std::nullopt;
  // That of a seed has none.
  const auto wall_time = json.find("wall_time_ns");
  if (wall_time != json.end() && wall_time->is_number_integer()) {
    marker.cut.wall_time_ns = wall_time->get<int64_t>();
  }
  for (int state = 0; state < 3; ++state) {
    if (TextAt(json, "state") == kStates[state]) marker.state = static_cast<TreeState>(state);
  }
  return marker;
}

}  // namespace tandem::replica
