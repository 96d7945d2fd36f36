// Walks two trees side by side. Needs two descriptors for any depth, and
// memory for the names of the directories on the way down.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tests/programs/lib/compare_object.h"
#include "tests/programs/lib/fd.h"

namespace tandem::compare {

class TreeComparison {
 public:
  TreeComparison(const char* root_a, const char* root_b, const Options& options, Report* report);

  void Run();

 private:
  using Inode = std::pair<dev_t, ino_t>;

  // One of the trees: its open directory is the one the walk is in.
  struct Side {
    const char* root;
    programs::Fd directory;
    // The first path under which each hard-linked object was met. Both walks
    // meet paths in the same order, so links are grouped alike if and only if
    // every path has the same first path on both sides.
    std::map<Inode, std::string> first_paths;
  };

  struct Level {
    std::vector<std::string> names_a;  // Sorted.
    std::vector<std::string> names_b;
    size_t next_a = 0;
    size_t next_b = 0;
    size_t path_length = 0;  // Of this directory's path.
    Inode inode_a;
    Inode inode_b;
  };

  bool OpenRoots();
  void CompareNext();
  void CompareObjects(const std::string& name);
  void OnlyIn(const Side& side, const std::string& name);
  bool CompareLinkGroups(const ObjectPair& pair);
  void Descend(const ObjectPair& pair);
  void Ascend();
  bool AscendTo(Side* side, const Inode& parent);
  std::string PathOf(const std::string& name) const;
  static Inode InodeOf(const struct stat& stat);

  const Options options_;
  Report* report_;
  Side a_;
  Side b_;
  std::string path_;  // Of the directory the walk is in; "" is the root.
  std::vector<Level> levels_;
};

}  // namespace tandem::compare
