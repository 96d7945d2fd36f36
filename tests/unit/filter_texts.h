// Makes filter rules from texts that are right, and complaints from those that are wrong.
#pragma once

#include <gtest/gtest.h>

#include <span>
#include <string>
#include <vector>

#include "meta/filter/filter_rules.h"

namespace tandem::meta {

inline constexpr bool kIsDirectory = true;

inline FilterRules RulesOf(std::vector<RuleText> texts) {
  auto rules = FilterRules::FromOptions(texts);
  EXPECT_TRUE(rules) << rules.error().ToString();
  return rules ? *std::move(rules) : *FilterRules::FromOptions({});
}

// Each text is an option --filter.
inline FilterRules Filters(const std::vector<std::string>& filters) {
  std::vector<RuleText> texts;
  for (const std::string& filter : filters) {
    texts.push_back({RuleSyntax::kFilter, false, "--filter", filter});
  }
  return RulesOf(std::move(texts));
}

inline FilterRules OfDirectory(const std::string& content) {
  auto rules = FilterRules::FromDirectory(".tandemignore", content);
  EXPECT_TRUE(rules) << rules.error().ToString();
  return rules ? *std::move(rules) : *FilterRules::FromOptions({});
}

// Whether an exclude rule with this pattern concerns the path. A slash at its end: a directory.
inline bool PatternHits(const std::string& pattern, std::string path) {
  const bool is_directory = path.ends_with('/');
  if (is_directory) path.pop_back();
  const FilterRules rules = RulesOf({{RuleSyntax::kExclude, false, "--exclude", pattern}});
  return rules.Match({.path = path, .is_directory = is_directory}) ==
         FilterRules::Verdict::kExcluded;
}

inline std::string Complaint(const RuleText& text) {
  const auto rules = FilterRules::FromOptions(std::span(&text, 1));
  if (rules) return "accepted";
  EXPECT_EQ(rules.error().kind(), ErrorKind::kUsage);
  return rules.error().ToString();
}

}  // namespace tandem::meta
