#include "tests/programs/lib/compare_walk.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <optional>

#include "tests/programs/lib/compare_content.h"
#include "tests/programs/lib/escape.h"
#include "tests/programs/lib/list_names.h"

namespace tandem::compare {
namespace {

using programs::Fd;

Fd OpenDirectory(int parent, const char* name, int extra_flags) {
  const int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | extra_flags;
  Fd fd(openat(parent, name, flags | O_NOATIME));
  if (!fd.ok() && errno == EPERM) fd = Fd(openat(parent, name, flags));
  return fd;
}

std::optional<std::vector<std::string>> ListNames(int directory) {
  Fd copy = OpenDirectory(directory, ".", 0);
  if (!copy.ok()) return std::nullopt;
  return programs::ListNames(std::move(copy));
}

}  // namespace

TreeComparison::TreeComparison(const char* root_a, const char* root_b, const Options& options,
                               Report* report)
    : options_(options), report_(report), a_{root_a, {}, {}}, b_{root_b, {}, {}} {}

void TreeComparison::Run() {
  if (!OpenRoots()) return;
  ObjectPair root = {
      ".", {{a_.root, a_.directory.get(), "."}, {}}, {{b_.root, b_.directory.get(), "."}, {}}};
  if (!Examine(&root, report_)) return;
  report_->CountObject();
  CompareAttributes(root, options_, report_);
  Descend(root);
  while (!levels_.empty()) CompareNext();
}

bool TreeComparison::OpenRoots() {
  for (Side* side : {&a_, &b_}) {
    // A root may be given as a symlink.
    side->directory = OpenDirectory(AT_FDCWD, side->root, 0);
    if (side->directory.ok()) continue;
    report_->Error(side->root, ".", "open as a directory", errno);
    return false;
  }
  return true;
}

// The next name in order, on one side or on both.
void TreeComparison::CompareNext() {
  Level& level = levels_.back();
  const bool more_a = level.next_a < level.names_a.size();
  const bool more_b = level.next_b < level.names_b.size();
  if (!more_a && !more_b) return Ascend();

  const int order = !more_a   ? 1
                    : !more_b ? -1
                              : level.names_a[level.next_a].compare(level.names_b[level.next_b]);
  // Copies, because descending moves the levels.
  const std::string name = order <= 0 ? level.names_a[level.next_a] : level.names_b[level.next_b];
  if (order <= 0) ++level.next_a;
  if (order >= 0) ++level.next_b;
  report_->CountObject();
  if (order < 0) return OnlyIn(a_, name);
  if (order > 0) return OnlyIn(b_, name);
  CompareObjects(name);
}

void TreeComparison::CompareObjects(const std::string& name) {
  const std::string path = PathOf(name);
  ObjectPair pair = {path,
                     {{a_.root, a_.directory.get(), name.c_str()}, {}},
                     {{b_.root, b_.directory.get(), name.c_str()}, {}}};
  if (!Examine(&pair, report_)) return;

  const mode_t mode = pair.a.stat.st_mode;
  if ((mode & S_IFMT) != (pair.b.stat.st_mode & S_IFMT)) {
    return report_->Difference(path, "kind", KindName(mode), KindName(pair.b.stat.st_mode));
  }
  CompareAttributes(pair, options_, report_);
  if (S_ISDIR(mode)) return Descend(pair);
  const bool first_meeting = CompareLinkGroups(pair);
  if (S_ISREG(mode) && first_meeting) CompareContent(pair, report_);
}

void TreeComparison::OnlyIn(const Side& side, const std::string& name) {
  const std::string path = PathOf(name);
  struct stat found;
  std::string kind = "present";
  if (fstatat(side.directory.get(), name.c_str(), &found, AT_SYMLINK_NOFOLLOW) == 0) {
    kind = KindName(found.st_mode);
  }
  const bool in_a = &side == &a_;
  report_->Difference(path, "exists", in_a ? kind : "(absent)", in_a ? "(absent)" : kind);
}

// False if this very pair was compared under another path already.
bool TreeComparison::CompareLinkGroups(const ObjectPair& pair) {
  const std::string path(pair.path);
  std::string first_a = path;
  std::string first_b = path;
  if (pair.a.stat.st_nlink > 1) {
    first_a = a_.first_paths.try_emplace(InodeOf(pair.a.stat), path).first->second;
  }
  if (pair.b.stat.st_nlink > 1) {
    first_b = b_.first_paths.try_emplace(InodeOf(pair.b.stat), path).first->second;
  }
  if (first_a == first_b) return first_a == path;
  report_->Difference(path, "hard link group, first member", programs::Escape(first_a),
                      programs::Escape(first_b));
  return true;
}

void TreeComparison::Descend(const ObjectPair& pair) {
  Fd fd_a = OpenDirectory(pair.a.at.directory, pair.a.at.name, O_NOFOLLOW);
  if (!fd_a.ok()) report_->Error(a_.root, pair.path, "open", errno);
  Fd fd_b = OpenDirectory(pair.b.at.directory, pair.b.at.name, O_NOFOLLOW);
  if (!fd_b.ok()) report_->Error(b_.root, pair.path, "open", errno);
  if (!fd_a.ok() || !fd_b.ok()) return;

  Level level;
  auto names_a = ListNames(fd_a.get());
  if (!names_a) report_->Error(a_.root, pair.path, "readdir", errno);
  auto names_b = ListNames(fd_b.get());
  if (!names_b) report_->Error(b_.root, pair.path, "readdir", errno);
  if (!names_a || !names_b) return;

  const bool is_root = levels_.empty();
  level.names_a = std::move(*names_a);
  level.names_b = std::move(*names_b);
  level.inode_a = InodeOf(pair.a.stat);
  level.inode_b = InodeOf(pair.b.stat);
  if (!is_root) path_ = pair.path;
  level.path_length = path_.size();
  levels_.push_back(std::move(level));
  a_.directory = std::move(fd_a);
  b_.directory = std::move(fd_b);
}

void TreeComparison::Ascend() {
  levels_.pop_back();
  if (levels_.empty()) return;
  const Level& parent = levels_.back();
  path_.resize(parent.path_length);
  if (!AscendTo(&a_, parent.inode_a) || !AscendTo(&b_, parent.inode_b)) {
    levels_.clear();
  }
}

// By "..", because keeping every directory on the way open could exhaust the
// descriptors; and looks that it came back to where it was.
bool TreeComparison::AscendTo(Side* side, const Inode& parent) {
  Fd fd = OpenDirectory(side->directory.get(), "..", 0);
  struct stat found;
  int error = 0;
  if (!fd.ok() || fstat(fd.get(), &found) != 0) {
    error = errno;
  } else if (InodeOf(found) != parent) {
    error = ESTALE;  // Moved while we were in it.
  }
  if (error) {
    report_->Error(side->root, path_, "return to the directory", error);
    return false;
  }
  side->directory = std::move(fd);
  return true;
}

std::string TreeComparison::PathOf(const std::string& name) const {
  return path_.empty() ? name : path_ + "/" + name;
}

TreeComparison::Inode TreeComparison::InodeOf(const struct stat& stat) {
  return {stat.st_dev, stat.st_ino};
}

}  // namespace tandem::compare
