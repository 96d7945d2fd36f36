#include "tests/programs/lib/compare_xattrs.h"

#include <sys/xattr.h>

#include <cerrno>
#include <cstring>
#include <map>
#include <set>
#include <string>

#include "tests/programs/lib/escape.h"

namespace tandem::compare {
namespace {

using Xattrs = std::map<std::string, std::string>;

// The kernel's own limits on a list of names and on a value are the same.
constexpr size_t kLargest = 64 << 10;

// There is no lgetxattrat, but below a descriptor's name in /proc a path has
// only one component more.
std::string ProcPath(const Location& at) {
  return "/proc/self/fd/" + std::to_string(at.directory) + "/" + at.name;
}

bool ReadXattrs(std::string_view path, const Location& at, Xattrs* out, Report* report) {
  const std::string proc_path = ProcPath(at);
  std::string names(kLargest, '\0');
  const ssize_t length = llistxattr(proc_path.c_str(), names.data(), names.size());
  if (length < 0) {
    if (errno == EOPNOTSUPP) return true;
    report->Error(at.side, path, "llistxattr", errno);
    return false;
  }
  if (length == 0) return true;
  names.resize(static_cast<size_t>(length));

  std::string value(kLargest, '\0');
  for (size_t start = 0; start < names.size();) {
    const std::string name = names.c_str() + start;
    start += name.size() + 1;
    const ssize_t size = lgetxattr(proc_path.c_str(), name.c_str(), value.data(), value.size());
    if (size < 0) {
      report->Error(at.side, path, "lgetxattr " + programs::Escape(name), errno);
      return false;
    }
    (*out)[name] = value.substr(0, static_cast<size_t>(size));
  }
  return true;
}

std::string Text(const Xattrs& xattrs, const std::string& name) {
  constexpr size_t kShown = 64;
  const auto found = xattrs.find(name);
  if (found == xattrs.end()) return "(absent)";
  const std::string& value = found->second;
  std::string text = "\"" + programs::Escape(value.substr(0, kShown)) + "\"";
  if (value.size() > kShown) text += "...";
  return text + " (" + std::to_string(value.size()) + " bytes)";
}

}  // namespace

void CompareXattrs(const ObjectPair& pair, Report* report) {
  Xattrs a;
  Xattrs b;
  if (!ReadXattrs(pair.path, pair.a.at, &a, report) ||
      !ReadXattrs(pair.path, pair.b.at, &b, report) || a == b) {
    return;
  }
  std::set<std::string> names;
  for (const Xattrs* side : {&a, &b}) {
    for (const auto& [name, value] : *side) names.insert(name);
  }
  for (const std::string& name : names) {
    const auto in_a = a.find(name);
    const auto in_b = b.find(name);
    if (in_a != a.end() && in_b != b.end() && in_a->second == in_b->second) {
      continue;
    }
    report->Difference(pair.path, "xattr " + programs::Escape(name), Text(a, name), Text(b, name));
  }
}

}  // namespace tandem::compare
