#include "tools/config/config_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <toml++/toml.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "meta/base/read_at.h"
#include "meta/base/unique_fd.h"
#include "tools/spelling.h"

namespace tandem::tools {
namespace {

constexpr uint64_t kLargestFile = 1 << 20;

tl::unexpected<Error> Bad(const std::string& path, const std::string& why) {
  return MakeError(ErrorKind::kUsage, "read configuration file " + path + " (" + why + ")", EINVAL);
}

Result<std::string> ReadAll(const std::string& path) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (!fd.valid()) return ErrnoError("read configuration file " + path);
  struct stat status {};
  if (fstat(fd.get(), &status) != 0) return ErrnoError("read configuration file " + path);
  if (!S_ISREG(status.st_mode)) return Bad(path, "it is not a regular file");
  // It says what is mounted where, and with which rights.
  if ((status.st_mode & S_IWOTH) != 0) {
    return Bad(path, "every user may write to it: chmod o-w " + path);
  }
  const bool is_others = status.st_uid != 0 && status.st_uid != geteuid();
  const bool is_of_a_group =
      geteuid() == 0 && (status.st_mode & S_IWGRP) != 0 && status.st_gid != 0;
  if (is_others || is_of_a_group) {
    return Bad(path, "another user may write to it: chown root and chmod g-w " + path);
  }
  std::string text(kLargestFile + 1, '\0');
  ASSIGN_OR_RETURN(const size_t size, ReadAt(fd.get(), 0, text, "read configuration file"));
  text.resize(size);
  if (text.size() > kLargestFile) return Bad(path, "it has more than 1 MiB");
  return text;
}

std::string Expected(ConfigFile::Kind kind) {
  switch (kind) {
    case ConfigFile::Kind::kText:
      return "a string or a number, as in KEY = \"VALUE\"";
    case ConfigFile::Kind::kList:
      return "a string, or a list of them, as in KEY = [\"VALUE\", \"VALUE\"]";
    case ConfigFile::Kind::kFlag:
      break;
  }
  return "true or false";
}

// Returns nullopt if the node is neither a string nor a number.
std::optional<std::string> TextOf(const toml::node& node) {
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* number = node.as_integer()) return std::to_string(number->get());
  return std::nullopt;
}

}  // namespace

class ConfigReader {
 public:
  ConfigReader(std::string path, std::span<const ConfigFile::Key> keys) : keys_(keys) {
    file_.path_ = std::move(path);
  }

  Result<ConfigFile> Read() {
    ASSIGN_OR_RETURN(const std::string text, ReadAll(file_.path_));
    toml::table table;
    try {
      table = toml::parse(text);
    } catch (const toml::parse_error& e) {
      return BadAt(e.source().begin.line, std::string(e.description()));
    }
    for (const auto& [key, node] : table) {
      RETURN_IF_ERROR(Take(std::string(key.str()), key.source().begin.line, node));
    }
    return std::move(file_);
  }

 private:
  tl::unexpected<Error> BadAt(uint32_t line, const std::string& why) const {
    return Bad(file_.path_, "line " + std::to_string(line) + ": " + why);
  }

  Status Take(const std::string& name, uint32_t line, const toml::node& node) {
    const auto key = std::ranges::find(keys_, name, &ConfigFile::Key::name);
    if (key == keys_.end()) return Unknown(name, line);
    ConfigFile::Value value;
    value.kind = key->kind;
    value.line = line;
    if (!TakeValue(node, value)) {
      return BadAt(line,
                   name + " has a value of another kind: " + Expected(key->kind) + " is expected");
    }
    file_.values_[name] = std::move(value);
    return {};
  }

  static bool TakeValue(const toml::node& node, ConfigFile::Value& value) {
    if (value.kind == ConfigFile::Kind::kFlag) {
      const auto* flag = node.as_boolean();
      if (flag != nullptr) value.flag = flag->get();
      return flag != nullptr;
    }
    if (auto text = TextOf(node)) {
      value.texts = {*std::move(text)};
      return true;
    }
    const toml::array* const many = node.as_array();
    if (value.kind != ConfigFile::Kind::kList || many == nullptr) return false;
    for (const toml::node& item : *many) {
      auto text = TextOf(item);
      if (!text) return false;
      value.texts.push_back(*std::move(text));
    }
    return true;
  }

  Status Unknown(const std::string& name, uint32_t line) const {
    std::vector<std::string> names;
    std::string all;
    for (const ConfigFile::Key& key : keys_) {
      names.emplace_back(key.name);
      all += (all.empty() ? "" : ", ") + names.back();
    }
    const std::string near = NearestWord(name, names);
    return BadAt(line, "there is no setting " + name +
                           (near.empty() ? "; there are " + all : ": did you mean " + near + "?"));
  }

  const std::span<const ConfigFile::Key> keys_;
  ConfigFile file_;
};

std::string ConfigDirectory() {
  const char* const set = std::getenv("TANDEM_CONFIG_DIR");
  return set != nullptr && *set != '\0' ? set : "/etc/tandemfs";
}

Result<ConfigFile> ConfigFile::Read(const std::string& path, std::span<const Key> keys) {
  return ConfigReader(path, keys).Read();
}

std::optional<std::string> ConfigFile::Text(std::string_view key) const {
  const auto found = values_.find(key);
  if (found == values_.end()) return std::nullopt;
  return found->second.texts.front();
}

std::optional<std::vector<std::string>> ConfigFile::List(std::string_view key) const {
  const auto found = values_.find(key);
  if (found == values_.end()) return std::nullopt;
  return found->second.texts;
}

std::optional<bool> ConfigFile::Flag(std::string_view key) const {
  const auto found = values_.find(key);
  if (found == values_.end()) return std::nullopt;
  return found->second.flag;
}

Error ConfigFile::At(std::string_view key, const Error& error) const {
  const auto found = values_.find(key);
  const std::string line = found == values_.end() ? "" : ":" + std::to_string(found->second.line);
  return {error.kind(), error.code(),
          path_ + line + ": " + std::string(key) + ": " + error.context()};
}

}  // namespace tandem::tools
