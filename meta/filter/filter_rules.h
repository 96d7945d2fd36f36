// An ordered list of filter rules: those of all options of a volume, or those of the file
// .tandemignore of one directory. The first rule that matches a path decides; a path that no rule
// matches is included. Immutable; any thread.
//
// Rules files: a line is a rule. Empty lines and lines that start with # or ; are ignored. A line
// ends with LF, CR or both, as in rsync, so a file from Windows works. A UTF-8 byte order mark at
// the start of a file is ignored; rsync takes it for a part of the first rule. Spaces are part of
// the pattern, trailing ones too. Asking a list takes at most (bytes of its rules) * (bytes of the
// path) steps, usually far fewer; keep the answer if a path is asked about often.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "meta/base/result.h"
#include "meta/filter/rule_parser.h"

namespace tandem::meta {

inline constexpr size_t kMostRulesFileBytes = 1 << 20;
inline constexpr size_t kMostRules = 10'000;

// One option with a rule, or one rules file.
struct RuleText {
  RuleSyntax syntax = RuleSyntax::kFilter;
  bool is_file = false;
  std::string origin;  // for messages: the option's name ("--exclude") or the file's path
  std::string text;    // the option's value or the file's content
};

// Reads a rules file. `path` is relative to `directory`, which may be AT_FDCWD. Otherwise the file
// belongs to a user of the volume, and a symbolic link is refused (kSystem with ELOOP): its target
// might be a file that only this process may read. Fails with kSystem and ENOENT if there is none,
// with kUsage if it is not a regular file or has more than kMostRulesFileBytes.
Result<std::string> ReadRulesFile(int directory, const std::string& path);

class FilterRules {
 public:
  enum class Verdict { kIncluded, kExcluded, kNoRule };

  // Parses the rules of a volume's options, in the order in which they were given. The directories'
  // own rules come before all others, unless "--filter=: .tandemignore" gives them another place.
  // Fails with kUsage; the message begins with the option, or with the file and the line.
  static Result<FilterRules> FromOptions(std::span<const RuleText> texts);
  // Parses the content of a directory's .tandemignore. `origin` is its path, for messages.
  static Result<FilterRules> FromDirectory(std::string origin, std::string content);

  // Judges the subject alone: not the directories it is in, nor the directories' own rules.
  Verdict Match(const FilterSubject& subject) const;
  // The same, with only the rules before, or after, the place of the directories' own rules.
  Verdict MatchBeforeDirectories(const FilterSubject& subject) const;
  Verdict MatchAfterDirectories(const FilterSubject& subject) const;
  // Returns whether neither the path nor a directory it is in is excluded. Only right where no
  // directory has rules of its own; see DirectoryFilter.
  bool Includes(std::string_view path_from_root, bool is_directory) const;

  bool empty() const { return rules_.empty() && !clears_inherited_; }
  // Returns whether the file had a "!", which also forgets the rules of the directories above.
  bool clears_inherited() const { return clears_inherited_; }
  // Returns the XXH3 (64 bits) of the rules in their order. It is the same on all hosts, and does
  // not depend on comments, or on which option or file a rule came from.
  uint64_t digest() const { return digest_; }

 private:
  class Parser;

  FilterRules() = default;
  Verdict MatchRange(size_t begin, size_t end, const FilterSubject& subject) const;
  uint64_t ComputeDigest() const;

  std::vector<FilterRule> rules_;
  size_t directories_at_ = 0;  // the first of rules_ that comes after the directories' own rules
  bool clears_inherited_ = false;
  uint64_t digest_ = 0;
};

}  // namespace tandem::meta
