// Reads the configuration files of tandemfs and tandemd: TOML, whose keys are the options of the
// program with the same name, without the dashes. An option on the command line overrides the file.
//
//   replica = ["backup=tls://backup.example", "tls://other.example"]   # what may be repeated
//   interval = 50            # or "50": numbers may stand as text, as on the command line
//   no-capture = true        # what takes no value
//
// Immutable once read; any thread.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "meta/base/result.h"

namespace tandem::tools {

// What stands in /etc/tandemfs, or in the directory that TANDEM_CONFIG_DIR names.
std::string ConfigDirectory();

class ConfigFile {
 public:
  enum class Kind {
    kText,  // a string, or a number
    kList,  // a string, or a list of strings
    kFlag,  // true or false
  };
  struct Key {
    std::string_view name;
    Kind kind;
  };

  // Returns kUsage, naming file, line and key, if the file cannot be read or parsed, has more than
  // 1 MiB, can be written by every user, or has a key that is not in `keys` or of another kind.
  // A byte order mark is ignored.
  static Result<ConfigFile> Read(const std::string& path, std::span<const Key> keys);

  // The value of a key; nullopt if the file does not have it.
  std::optional<std::string> Text(std::string_view key) const;
  std::optional<std::vector<std::string>> List(std::string_view key) const;
  std::optional<bool> Flag(std::string_view key) const;

  const std::string& path() const { return path_; }
  // Returns the error with the place of the key in front: what was found wrong with its value.
  Error At(std::string_view key, const Error& error) const;

 private:
  struct Value {
    Kind kind = Kind::kText;
    std::vector<std::string> texts;
    bool flag = false;
    uint32_t line = 0;
  };
  std::string path_;
  std::map<std::string, Value, std::less<>> values_;

  friend class ConfigReader;
};

}  // namespace tandem::tools
