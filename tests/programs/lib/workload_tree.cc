#include "tests/programs/lib/workload_tree.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/programs/lib/fd.h"
#include "tests/programs/lib/list_names.h"
#include "tests/programs/lib/workload_pick.h"

namespace tandem::workload {
namespace {

using programs::Fd;

constexpr int kOpenDirectory = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

Fd OpenDirectory(Actor& actor, int parent, const std::string& name) {
  Fd fd(openat(parent, name.c_str(), kOpenDirectory));
  actor.Observe("open", fd.get());
  return fd;
}

std::vector<std::string> ListDirectory(Actor& actor, int directory) {
  Fd copy(openat(directory, ".", kOpenDirectory));
  if (!actor.Observe("open", copy.get())) return {};
  auto names = programs::ListNames(std::move(copy));
  actor.Observe("readdir", names ? 0 : -1);
  return std::move(names).value_or(std::vector<std::string>());
}

void AddUsage(Actor& actor, int parent, const std::string& name, Usage* usage) {
  struct stat found;
  if (!actor.Observe("fstatat", fstatat(parent, name.c_str(), &found, AT_SYMLINK_NOFOLLOW))) {
    return;
  }
  usage->objects += 1;
  usage->allocated_bytes += static_cast<uint64_t>(found.st_blocks) * 512;
  if (!S_ISDIR(found.st_mode)) return;
  const Fd directory = OpenDirectory(actor, parent, name);
  if (!directory.ok()) return;
  for (const std::string& below : ListDirectory(actor, directory.get())) {
    AddUsage(actor, directory.get(), below, usage);
  }
}

void RemoveAt(Actor& actor, int parent, const std::string& name) {
  if (unlinkat(parent, name.c_str(), 0) == 0) return;
  if (errno != EISDIR) {
    actor.Observe("unlink", -1);
    return;
  }
  const Fd directory = OpenDirectory(actor, parent, name);
  if (!directory.ok()) return;
  for (const std::string& below : ListDirectory(actor, directory.get())) {
    RemoveAt(actor, directory.get(), below);
  }
  actor.Try("rmdir", unlinkat(parent, name.c_str(), AT_REMOVEDIR));
}

bool Within(Usage usage, Usage limits) {
  return usage.objects <= limits.objects && usage.allocated_bytes <= limits.allocated_bytes;
}

}  // namespace

Usage MeasureTree(Actor& actor, const Path& path) {
  Usage usage;
  AddUsage(actor, AT_FDCWD, path.bytes, &usage);
  return usage;
}

void RemoveTree(Actor& actor, const Path& path) { RemoveAt(actor, AT_FDCWD, path.bytes); }

void EnforceLimits(Actor& actor, const Path& area, Usage limits) {
  if (Within(MeasureTree(actor, area), limits)) return;
  actor.Note(area);

  const Fd directory = OpenDirectory(actor, AT_FDCWD, area.bytes);
  if (!directory.ok()) return;
  std::vector<std::string> names = ListDirectory(actor, directory.get());
  const Usage half = {limits.objects / 2, limits.allocated_bytes / 2};
  while (!names.empty() && !Within(MeasureTree(actor, area), half)) {
    const auto victim = names.begin() + actor.random().Below(names.size());
    RemoveAt(actor, directory.get(), *victim);
    names.erase(victim);
  }
}

void RemoveStrays(Actor& actor) {
  const Fd root = OpenDirectory(actor, AT_FDCWD, ".");
  if (!root.ok()) return;
  for (const std::string& name : ListDirectory(actor, root.get())) {
    const auto found = Look(actor, Path{name});
    if (found && !S_ISDIR(found->st_mode)) RemoveAt(actor, root.get(), name);
  }
}

void BuildChain(Actor& actor, const Path& path, int depth, size_t name_bytes) {
  if (!actor.Try("mkdir", mkdir(path.bytes.c_str(), 0755))) return;
  Fd here = OpenDirectory(actor, AT_FDCWD, path.bytes);
  for (int level = 0; level < depth && here.ok(); ++level) {
    std::string name = "level" + std::to_string(level);
    name.resize(std::max(name.size(), name_bytes), '-');
    if (!actor.Try("mkdirat", mkdirat(here.get(), name.c_str(), 0755))) return;
    here = OpenDirectory(actor, here.get(), name);
  }
  if (!here.ok()) return;
  Fd file(openat(here.get(), "bottom", O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
  if (!actor.Try("openat", file.get())) return;
  const auto data = actor.Data(actor.random().Magnitude(4096));
  actor.TryTransfer("write", write(file.get(), data.data(), data.size()), data.size());
  actor.Try("close", file.Close());
}

}  // namespace tandem::workload
