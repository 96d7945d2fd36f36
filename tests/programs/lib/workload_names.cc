#include "tests/programs/lib/workload_names.h"

#include <linux/limits.h>

#include <algorithm>

namespace tandem::workload {
namespace {

std::string PaddedToLongest(std::string name) {
  name.resize(NAME_MAX, 'x');
  return name;
}

// Every eighth index has the same peculiarity.
std::string Name(char kind, uint64_t index) {
  std::string plain = kind + std::to_string(index);
  switch (index % 8) {
    case 1:
      return PaddedToLongest(plain + "-long-");
    case 3:
      return plain + "-\xff\xfe\x80\xc3";
    case 4:
      return plain + "\nline\\n\\back";
    case 5:
      return plain + "-gr\xc3\xb6\xc3\x9f\x65 \xf0\x9f\x90\x98";
    case 6:
      return "- *?[$" + plain + "]'\"";
    case 7:
      return ".." + plain;
    default:
      return plain;
  }
}

}  // namespace

Path operator/(const Path& parent, std::string_view name) {
  return Path{parent.bytes + "/" + std::string(name)};
}

NamePool::NamePool(uint64_t objects_per_area)
    : file_names_(std::clamp<uint64_t>(objects_per_area / 12, 8, 400)) {}

std::string NamePool::File(programs::Random* random) const {
  return Name('f', random->Below(file_names_));
}

std::string NamePool::Directory(programs::Random* random) const {
  constexpr uint64_t kDirectoryNames = 6;
  return Name('d', random->Below(kDirectoryNames));
}

Path SharedArea() { return Path{"shared"}; }

Path OwnArea(int process, int thread) {
  return Path{"p" + std::to_string(process) + ".t" + std::to_string(thread)};
}

}  // namespace tandem::workload
