#include "replica/apply/own_labels.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <string>

namespace tandem::replica {
namespace {

struct Label {
  std::string_view prefix;
  std::string_view module;
};
constexpr std::array<Label, 4> kLabels = {{{"security.selinux", "selinux"},
                                           {"security.SMACK64", "smack"},
                                           {"security.ima", "ima"},
                                           {"security.evm", "evm"}}};

std::string RunningModules() {
  std::string modules;
  std::getline(std::ifstream("/sys/kernel/security/lsm"), modules);
  // If securityfs is not mounted, at least SELinux can be found.
  if (modules.empty() && access("/sys/fs/selinux/enforce", F_OK) == 0) modules = "selinux";
  return modules;
}

bool Lists(std::string_view modules, std::string_view module) {
  while (!modules.empty()) {
    const size_t end = std::min(modules.find(','), modules.size());
    if (modules.substr(0, end) == module) return true;
    modules.remove_prefix(std::min(end + 1, modules.size()));
  }
  return false;
}

}  // namespace

bool IsOwnLabel(std::string_view name, std::string_view modules) {
  for (const Label& label : kLabels) {
    if (name.starts_with(label.prefix)) return Lists(modules, label.module);
  }
  return false;
}

void LeaveOutOwnLabels(meta::Xattrs& xattrs, const meta::Xattrs& of_source) {
  if (xattrs.empty()) return;
  static const std::string modules = RunningModules();
  std::erase_if(xattrs, [&of_source](const auto& xattr) {
    return IsOwnLabel(xattr.first, modules) && !of_source.contains(xattr.first);
  });
}

}  // namespace tandem::replica
