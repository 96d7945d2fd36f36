// The settings of a mount as text, before they are checked: what the command line, -o and the
// configuration file have said of each. One thread.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "meta/base/result.h"
#include "tools/config/config_file.h"
#include "tools/mount_arguments.h"

namespace tandem::tools {

// What was given, as text; empty: not given.
struct Given {
  std::string source;
  std::string mountpoint;
  std::string config;
  std::vector<std::string> replicas;
  std::map<std::string, std::string, std::less<>> texts;  // by the name of the long option
  bool no_capture = false;
  bool foreground = false;
  std::string fuse_options;
};
// Parses the least time between two cuts. Returns kUsage if it is not one of milliseconds.
Result<std::chrono::milliseconds> ParseInterval(const std::string& text);

// Makes a relative path one that begins at `directory`.
void Anchor(std::string& path, const std::string& directory);

// Takes our own options out of the arguments of -o; the rest is for FUSE.
void TakeMountOptions(const std::vector<std::string>& lists, Given& given);

// Returns the file of a volume that is named instead of SOURCE, as in `tandemfs VOLUME
// [MOUNTPOINT]`; an empty string if it is none.
// A SOURCE that is there is none; relative ones begin at `directory`, if it is not empty.
std::string ConfigOfVolume(const Given& given, const std::string& directory = {});

// Adds what the file `given.config` says and nothing else has said. `names_volume`: it is the file
// of the volume that stands in place of SOURCE.
Result<ConfigFile> TakeConfig(Given& given, bool names_volume);

// Turns what was given into settings. Returns kUsage if one of them is wrong, naming the place in
// `file`, which is null if there is none.
Result<MountArguments> Convert(const Given& given, const ConfigFile* file);

}  // namespace tandem::tools
