#include "meta/filter/filter_rule.h"

#include <algorithm>

namespace tandem::meta {
namespace {

// Returns the last `slashes` + 1 components of the path, or nullopt if it has fewer.
std::optional<std::string_view> LastComponents(std::string_view path, size_t slashes) {
  size_t begin = path.size();
  for (size_t left = slashes + 1; left > 0; --left) {
    if (begin == 0) return std::nullopt;
    const size_t slash = path.rfind('/', begin - 1);
    if (slash != std::string_view::npos) {
      begin = slash;
    } else if (left > 1) {
      return std::nullopt;
    } else {
      return path;
    }
  }
  return path.substr(begin + 1);
}

bool EndsWithSlash(std::string_view pattern) { return pattern.size() > 1 && pattern.back() == '/'; }

std::string_view WithoutOuterSlashes(std::string_view pattern) {
  if (EndsWithSlash(pattern)) pattern.remove_suffix(1);
  if (pattern.starts_with('/')) pattern.remove_prefix(1);
  return pattern;
}

}  // namespace

FilterRule::Scope FilterRule::ScopeOf(std::string_view pattern) {
  if (pattern.starts_with('/')) return Scope::kAnchored;
  const std::string_view body = WithoutOuterSlashes(pattern);
  if (body.find("**") != std::string_view::npos) return Scope::kAnyTail;
  return body.find('/') != std::string_view::npos ? Scope::kTail : Scope::kName;
}

FilterRule::FilterRule(const Form& form)
    : excludes_(form.excludes),
      is_absolute_(form.is_absolute),
      is_negated_(form.is_negated),
      is_for_directories_(EndsWithSlash(form.pattern)),
      scope_(ScopeOf(form.pattern)),
      pattern_(WithoutOuterSlashes(form.pattern)) {
  slashes_ = static_cast<size_t>(std::count(pattern_.begin(), pattern_.end(), '/'));
  takes_directory_as_prefix_ = pattern_.ends_with("***");
  if (WildPattern::HasWildcards(pattern_)) wild_.emplace(pattern_);
}

bool FilterRule::Matches(const FilterSubject& subject) const {
  const bool is_of_kind = subject.is_directory || !is_for_directories_;
  return (is_of_kind && PatternMatches(subject)) != is_negated_;
}

bool FilterRule::PatternMatches(const FilterSubject& subject) const {
  std::string_view text = subject.path;
  if (scope_ == Scope::kAnchored) {
    text.remove_prefix(is_absolute_ ? 0 : subject.anchor);
  } else if (scope_ != Scope::kAnyTail) {
    const auto last = LastComponents(text, slashes_);
    if (!last) return false;
    text = *last;
  }
  if (!wild_) return text == pattern_;
  const bool is_any_tail = scope_ == Scope::kAnyTail;
  // The slash before the path lets "**/X" match X in the root.
  return wild_->Matches(
      {.slash_before = is_any_tail && pattern_.starts_with("**"),
       .name = text,
       .slash_after = takes_directory_as_prefix_ && subject.is_directory},
      is_any_tail ? WildPattern::Begin::kAfterAnySlash : WildPattern::Begin::kAtStart);
}

std::string FilterRule::Canonical() const {
  std::string text = excludes_ ? "-" : "+";
  if (is_negated_) text += '!';
  if (is_absolute_) text += '/';
  text += ' ';
  if (scope_ == Scope::kAnchored) text += '/';
  text += pattern_;
  if (is_for_directories_) text += '/';
  return text;
}

}  // namespace tandem::meta
