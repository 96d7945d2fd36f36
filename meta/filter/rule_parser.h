// Parses one filter rule from a line of a rules file or from an option. Any thread.
//
// The syntax is rsync's: rsync(1), "FILTER RULES IN DEPTH". Some of its rules have no meaning for a
// volume and are refused, with the reason: those for one side of a transfer, the modifiers s, r, p,
// x and C, and merge files.
#pragma once

#include <optional>
#include <string_view>

#include "meta/base/result.h"
#include "meta/filter/filter_rule.h"

namespace tandem::meta {

// The rules file that any directory may have.
inline constexpr std::string_view kDirectoryRulesName = ".tandemignore";

enum class RuleSyntax {
  kFilter,   // "- PATTERN", "+,! PATTERN", "exclude PATTERN", "!": --filter, .tandemignore
  kExclude,  // a pattern; "- " or "+ " before it says which; "!": --exclude, --exclude-from
  kInclude,  // the same: --include, --include-from
};

struct ParsedRule {
  enum class Kind {
    kNothing,         // an empty line
    kClear,           // "!": forget the rules before
    kDirectoryRules,  // ": .tandemignore": the directories' own rules come here
    kRule,
  };
  Kind kind = Kind::kNothing;
  std::optional<FilterRule> rule = {};  // if kind is kRule
};

// Parses `text`, which is no comment. Fails with kUsage: the rule, what is wrong with it and what
// is expected, but not where it stands.
Result<ParsedRule> ParseRule(std::string_view text, RuleSyntax syntax);

}  // namespace tandem::meta
