// Decides what a directory of a volume includes: by the rules of the volume's options, and by those
// of the file .tandemignore in the directory and in the directories above it. A directory that is
// excluded takes all below with it, so a walk must not enter it.
//
// The order of the rules: those from options before ": .tandemignore" (none, unless that is given),
// the directory's own, those of the directories above, nearest first, the other ones from options.
// The file .tandemignore is itself included unless a rule excludes it.
//
// Differs from rsync: a directory's name is always bytes, where rsync takes wildcards in it for
// wildcards of the anchored patterns of its file ("- /x" in the directory "[a" matches nothing);
// and a "!" in the options does not stop .tandemignore from being read.
//
// A DirectoryFilter is immutable, cheap to copy (two shared pointers), and any thread may use it
// and its copies. It keeps its directory's name and those of the directories above in memory.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "meta/filter/filter_rules.h"

namespace tandem::meta {

class DirectoryFilter {
 public:
  // The filter of the volume's root. `own_rules` are those of its .tandemignore.
  static DirectoryFilter Root(FilterRules from_options,
                              std::optional<FilterRules> own_rules = std::nullopt);
  // The filter of a directory in this one, which must be included.
  DirectoryFilter Child(std::string_view name,
                        std::optional<FilterRules> own_rules = std::nullopt) const;

  // Returns whether the directory's entry `name` is included.
  bool Includes(std::string_view name, bool is_directory) const;

 private:
  struct Level;

  DirectoryFilter(std::shared_ptr<const FilterRules> from_options,
                  std::shared_ptr<const Level> level);

  std::shared_ptr<const FilterRules> from_options_;
  std::shared_ptr<const Level> level_;
};

}  // namespace tandem::meta
