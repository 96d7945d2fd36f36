#include "tools/config/given_settings.h"

#include <limits.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <iterator>
#include <nlohmann/json.hpp>

#include "meta/base/log.h"
#include "replica/source/bandwidth.h"
#include "tools/state_directory.h"

namespace tandem::tools {
namespace {

std::string DefaultVolume(const std::string& source) {
  char resolved[PATH_MAX];
  std::string path = realpath(source.c_str(), resolved) != nullptr ? resolved : source;
  const std::string name = path.substr(path.rfind('/') + 1);
  return name.empty() ? "root" : name;
}

bool IsUtf8(const std::string& text) {
  try {
    (void)nlohmann::json(text).dump();
    return true;
  } catch (const nlohmann::json::type_error&) {
    return false;
  }
}

Status CheckVolumeName(const std::string& name) {
  const bool odd = std::ranges::any_of(
      name, [](char c) { return c == '/' || static_cast<unsigned char>(c) < ' ' || c == 0x7f; });
  const bool fits = name.size() <= 200 && !odd && !name.starts_with('.') && !name.empty();
  if (fits && IsUtf8(name)) return {};
  return MakeError(ErrorKind::kUsage,
                   "\"" + name +
                       "\" cannot be a volume's name: give one with --volume, in "
                       "UTF-8, without a slash and not beginning with a dot");
}

// `what` is the option and `expected` the accepted numbers, for the message.
Result<uint64_t> ParseNumber(const std::string& what, const std::string& text, uint64_t least,
                             uint64_t most, const std::string& expected) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = error == std::errc() && end == text.data() + text.size();
  if (whole && value >= least && value <= most) return value;
  return MakeError(ErrorKind::kUsage, what + " " + text + ": " + expected);
}

Result<uint64_t> ParseMostChanges(const std::string& text) {
  return ParseNumber("--max-changes", text, 1, UINT64_MAX, "a number from 1 is expected");
}

Result<std::chrono::seconds> ParseStopTimeout(const std::string& text) {
  ASSIGN_OR_RETURN(const uint64_t value, ParseNumber("--stop-timeout", text, 0, 86'400,
                                                     "seconds from 0 to 86400 are expected"));
  return std::chrono::seconds(value);
}

std::string WithoutBackslashes(std::string text) {
  std::erase(text, '\\');
  return text;
}

// Splits at commas; "\," is a comma within an option.
std::vector<std::string> SplitOptions(const std::string& list) {
  std::vector<std::string> options(1);
  for (size_t i = 0; i < list.size(); ++i) {
    if (list[i] == '\\' && i + 1 < list.size()) {
      options.back() += list[i];
      options.back() += list[++i];
    } else if (list[i] == ',') {
      options.emplace_back();
    } else {
      options.back() += list[i];
    }
  }
  std::erase(options, "");
  return options;
}

constexpr const char* kTextKeys[] = {"volume",       "state",   "interval", "max-changes",
                                     "stop-timeout", "bwlimit", "log-level"};

constexpr ConfigFile::Key kConfigKeys[] = {
    {"source", ConfigFile::Kind::kText},      {"mountpoint", ConfigFile::Kind::kText},
    {"volume", ConfigFile::Kind::kText},      {"state", ConfigFile::Kind::kText},
    {"replica", ConfigFile::Kind::kList},     {"interval", ConfigFile::Kind::kText},
    {"max-changes", ConfigFile::Kind::kText}, {"stop-timeout", ConfigFile::Kind::kText},
    {"bwlimit", ConfigFile::Kind::kText},     {"log-level", ConfigFile::Kind::kText},
    {"no-capture", ConfigFile::Kind::kFlag},  {"foreground", ConfigFile::Kind::kFlag},
    {"options", ConfigFile::Kind::kList},
};

}  // namespace

Result<std::chrono::milliseconds> ParseInterval(const std::string& text) {
  ASSIGN_OR_RETURN(
      const uint64_t value,
      ParseNumber("interval", text, 0, 3'600'000, "milliseconds from 0 to 3600000 are expected"));
  return std::chrono::milliseconds(value);
}

void Anchor(std::string& path, const std::string& directory) {
  if (!path.empty() && path[0] != '/') path.insert(0, directory + "/");
}

void TakeMountOptions(const std::vector<std::string>& lists, Given& given) {
  for (const std::string& list : lists) {
    for (const std::string& option : SplitOptions(list)) {
      const size_t equals = option.find('=');
      std::string key = option.substr(0, equals);
      std::ranges::replace(key, '_', '-');
      const std::string value =
          equals == std::string::npos ? "" : WithoutBackslashes(option.substr(equals + 1));
      if (key == "replica") {
        given.replicas.push_back(value);
      } else if (key == "no-capture") {
        given.no_capture = true;
      } else if (std::ranges::find(kTextKeys, key) != std::end(kTextKeys)) {
        given.texts.try_emplace(key, value);
      } else {
        given.fuse_options += (given.fuse_options.empty() ? "" : ",") + option;
      }
    }
  }
}

std::string ConfigOfVolume(const Given& given, const std::string& directory) {
  const std::string& name = given.source;
  if (name.empty() || name.find('/') != std::string::npos || name.starts_with('.')) return "";
  const std::string path = ConfigDirectory() + "/" + name + ".toml";
  const bool may_be_source =
      !given.mountpoint.empty() &&
      access((directory.empty() ? name : directory + "/" + name).c_str(), F_OK) == 0;
  return !may_be_source && access(path.c_str(), F_OK) == 0 ? path : "";
}

Result<ConfigFile> TakeConfig(Given& given, bool names_volume) {
  ASSIGN_OR_RETURN(ConfigFile file, ConfigFile::Read(given.config, kConfigKeys));
  // The file of a volume may give it another name than its own.
  if (names_volume) {
    given.texts.try_emplace("volume", file.Text("volume").value_or(given.source));
  }
  if (names_volume || given.source.empty()) given.source = file.Text("source").value_or("");
  if (given.mountpoint.empty()) {
    given.mountpoint = file.Text("mountpoint").value_or(given.source);
  }
  for (const char* key : kTextKeys) {
    if (auto text = file.Text(key)) given.texts.try_emplace(key, *std::move(text));
  }
  if (given.replicas.empty()) given.replicas = file.List("replica").value_or(given.replicas);
  given.no_capture |= file.Flag("no-capture").value_or(false);
  given.foreground |= file.Flag("foreground").value_or(false);
  Given from_options;
  TakeMountOptions(file.List("options").value_or(std::vector<std::string>()), from_options);
  given.texts.merge(from_options.texts);  // keeps what is there
  if (given.replicas.empty()) given.replicas = from_options.replicas;
  given.no_capture |= from_options.no_capture;
  if (!from_options.fuse_options.empty()) {
    given.fuse_options =
        from_options.fuse_options + (given.fuse_options.empty() ? "" : "," + given.fuse_options);
  }
  return file;
}

namespace {

// Parses a setting and puts it into `arguments`.
Status TakeText(const std::string& key, const std::string& text, MountArguments& arguments) {
  if (key == "volume") {
    RETURN_IF_ERROR(CheckVolumeName(text));
    arguments.volume = text;
  } else if (key == "state") {
    arguments.state = text;
  } else if (key == "interval") {
    ASSIGN_OR_RETURN(arguments.interval, ParseInterval(text));
  } else if (key == "max-changes") {
    ASSIGN_OR_RETURN(arguments.most_changes, ParseMostChanges(text));
  } else if (key == "stop-timeout") {
    ASSIGN_OR_RETURN(arguments.stop_timeout, ParseStopTimeout(text));
  } else if (key == "bwlimit") {
    RETURN_IF_ERROR(replica::BandwidthSchedule::Parse(text));
    arguments.bandwidth = text;
  } else {
    RETURN_IF_ERROR(CheckLogLevel(text));
    arguments.log_level = text;
  }
  return {};
}

}  // namespace

Result<MountArguments> Convert(const Given& given, const ConfigFile* file) {
  MountArguments arguments;
  arguments.config = given.config;
  arguments.source = given.source;
  arguments.mountpoint = given.mountpoint;
  arguments.foreground = given.foreground;
  arguments.fuse_options = given.fuse_options;
  arguments.capture = !given.no_capture;
  if (arguments.source.empty() || arguments.mountpoint.empty()) {
    const std::string how =
        file == nullptr ? "SOURCE and MOUNTPOINT are needed, or a VOLUME for which there is " +
                              ConfigDirectory() + "/VOLUME.toml"
                        : file->path() + ": source = \"DIR\" is needed";
    return MakeError(ErrorKind::kUsage, how + " (see tandemfs --help)");
  }
  for (const auto& [key, text] : given.texts) {
    if (auto taken = TakeText(key, text, arguments); !taken) {
      const bool from_file = file != nullptr && file->Text(key) == text;
      return tl::unexpected<Error>(from_file ? file->At(key, taken.error()) : taken.error());
    }
  }
  for (const std::string& replica : given.replicas) {
    arguments.replicas.push_back(ParseReplica(replica));
  }
  RETURN_IF_ERROR(CheckReplicas(arguments.replicas));
  if (arguments.volume.empty()) {
    arguments.volume = DefaultVolume(arguments.source);
    RETURN_IF_ERROR(CheckVolumeName(arguments.volume));
  }
  if (arguments.state.empty()) arguments.state = StateDirectory::DefaultPath(arguments.volume);
  return arguments;
}

}  // namespace tandem::tools
