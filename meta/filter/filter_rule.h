// One filter rule: a pattern, and what happens to the paths it matches. The syntax of a pattern and
// what it matches are rsync's: rsync(1), "PATTERN MATCHING RULES" and "ANCHORING INCLUDE/EXCLUDE
// PATTERNS". Names are bytes. Immutable; any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "meta/filter/wild_pattern.h"

namespace tandem::meta {

// What rules are asked about.
struct FilterSubject {
  // The path from the volume's root, without a slash at either end: "a/b". Not empty.
  std::string_view path;
  bool is_directory = false;
  // The length of the path of the directory whose rules file is being asked, with the slash behind
  // it; 0 in the root and for rules from options. A leading slash of a pattern stands for this
  // directory.
  size_t anchor = 0;
};

class FilterRule {
 public:
  struct Form {
    bool excludes = true;      // otherwise includes
    bool is_absolute = false;  // modifier "/": a leading slash always stands for the volume's root
    bool is_negated = false;   // modifier "!": concerns the paths the pattern does not match
    std::string_view pattern = {};  // not empty, at most kMostPatternBytes
  };
  explicit FilterRule(const Form& form);

  bool excludes() const { return excludes_; }
  // Returns whether the rule concerns the subject.
  bool Matches(const FilterSubject& subject) const;
  // Returns the rule as "-!/ PATTERN", however its verb and modifiers were spelled.
  std::string Canonical() const;

 private:
  enum class Scope {
    kName,      // the last component of the path
    kAnchored,  // the whole path below the anchor
    kTail,      // as many last components as the pattern has
    kAnyTail,   // the whole path, or what is behind any of its slashes
  };

  static Scope ScopeOf(std::string_view pattern);
  bool PatternMatches(const FilterSubject& subject) const;

  bool excludes_;
  bool is_absolute_;
  bool is_negated_;
  bool is_for_directories_;
  // The pattern is "X/***", which matches the directory X as well as all that is below.
  bool takes_directory_as_prefix_;
  Scope scope_;
  size_t slashes_;       // in pattern_
  std::string pattern_;  // without a slash at the start or the end
  std::optional<WildPattern> wild_;
};

}  // namespace tandem::meta
