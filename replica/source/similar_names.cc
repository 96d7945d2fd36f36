#include "replica/source/similar_names.h"

#include <algorithm>
#include <array>
#include <cctype>

namespace tandem::replica {
namespace {

constexpr std::array<std::string_view, 16> kSuffixes = {
    "~",     ".bak", ".old",     ".orig", ".new",  ".tmp",      ".temp",     ".part",
    ".save", ".swp", "-journal", "-wal",  ".lock", ".dpkg-new", ".dpkg-tmp", ".rpmnew"};
constexpr size_t kRandomLetters = 6;  // mkstemp's

bool IsAll(std::string_view text, int (*is)(int)) {
  return std::ranges::all_of(text, [is](unsigned char c) { return is(c) != 0; });
}

// Returns "mail.1" for "mail.2", and "mail" for "mail.1"; empty if the name does not end so.
std::string OneVersionNewer(std::string_view name) {
  const size_t dot = name.rfind('.');
  const std::string_view number = dot == name.npos ? "" : name.substr(dot + 1);
  constexpr size_t kMostDigits = 4;
  if (number.empty() || number.size() > kMostDigits || !IsAll(number, std::isdigit)) return "";
  const int version = std::stoi(std::string(number));
  const std::string stem(name.substr(0, dot));
  return version > 1 ? stem + "." + std::to_string(version - 1) : stem;
}

}  // namespace

std::vector<std::string> NamesOfOriginals(std::string_view name) {
  std::vector<std::string> names;
  const auto add = [&names, name](std::string_view original) {
    if (original.empty() || original == name || original == "." || original == "..") return;
    if (std::ranges::find(names, original) == names.end()) names.emplace_back(original);
  };
  for (const std::string_view suffix : kSuffixes) {
    if (name.ends_with(suffix)) add(name.substr(0, name.size() - suffix.size()));
  }
  add(OneVersionNewer(name));
  const size_t dot = name.rfind('.');
  if (dot != name.npos && dot > 0 && name.size() - dot - 1 == kRandomLetters &&
      IsAll(name.substr(dot + 1), std::isalnum)) {
    const std::string_view stem = name.substr(0, dot);
    if (stem.starts_with('.')) add(stem.substr(1));
    add(stem);
  }
  return names;
}

std::vector<std::string> NamesOfBackups(std::string_view name) {
  std::vector<std::string> names;
  for (const char* suffix : {"~", ".1", ".bak"}) names.push_back(std::string(name) + suffix);
  return names;
}

}  // namespace tandem::replica
