#include "meta/filter/filter_rules.h"

#include <xxhash.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "meta/base/escape.h"

namespace tandem::meta {
namespace {

constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

// Takes the first line from `rest` and returns it without its end.
std::string_view TakeLine(std::string_view& rest) {
  const size_t end = std::min(rest.find_first_of("\r\n"), rest.size());
  const std::string_view line = rest.substr(0, end);
  rest.remove_prefix(end);
  rest.remove_prefix(rest.starts_with("\r\n") ? 2 : std::min<size_t>(1, rest.size()));
  return line;
}

bool IsComment(std::string_view line) { return line.starts_with('#') || line.starts_with(';'); }

}  // namespace

class FilterRules::Parser {
 public:
  explicit Parser(bool is_of_directory) : is_of_directory_(is_of_directory) {}

  Status Add(const RuleText& text) {
    const std::string origin = EscapeControls(text.origin);
    if (!text.is_file) return AddLine(text.text, text.syntax, origin);
    if (text.text.size() > kMostRulesFileBytes) {
      return MakeError(ErrorKind::kUsage, origin + ": a rules file has at most 1 MiB");
    }
    std::string_view rest = text.text;
    if (rest.starts_with(kByteOrderMark)) rest.remove_prefix(kByteOrderMark.size());
    for (size_t number = 1; !rest.empty(); ++number) {
      const std::string_view line = TakeLine(rest);
      if (IsComment(line)) continue;
      RETURN_IF_ERROR(AddLine(line, text.syntax, origin + ":" + std::to_string(number)));
    }
    return {};
  }

  FilterRules Take() {
    rules_.digest_ = rules_.ComputeDigest();
    return std::move(rules_);
  }

 private:
  Status AddLine(std::string_view line, RuleSyntax syntax, const std::string& place) {
    Result<ParsedRule> parsed = ParseRule(line, syntax);
    if (!parsed) return tl::unexpected<Error>(std::move(parsed.error()).Within(place));
    switch (parsed->kind) {
      case ParsedRule::Kind::kNothing:
        return {};
      case ParsedRule::Kind::kClear:
        rules_.rules_.clear();
        rules_.directories_at_ = 0;
        rules_.clears_inherited_ = is_of_directory_;
        has_place_ = false;
        return {};
      case ParsedRule::Kind::kDirectoryRules:
        return PlaceDirectoryRules(place);
      case ParsedRule::Kind::kRule:
        break;
    }
    if (++count_ > kMostRules) {
      return MakeError(ErrorKind::kUsage,
                       place + ": there are more than " + std::to_string(kMostRules) + " rules");
    }
    rules_.rules_.push_back(*std::move(parsed->rule));
    return {};
  }

  Status PlaceDirectoryRules(const std::string& place) {
    const std::string rule = "\": " + std::string(kDirectoryRulesName) + "\"";
    if (is_of_directory_) {
      return MakeError(ErrorKind::kUsage, place + ": " + rule +
                                              " makes sense only in the volume's options; remove "
                                              "the line, such files are read anyway");
    }
    if (std::exchange(has_place_, true)) {
      return MakeError(ErrorKind::kUsage, place + ": " + rule + " is given a second time");
    }
    rules_.directories_at_ = rules_.rules_.size();
    return {};
  }

  const bool is_of_directory_;
  bool has_place_ = false;
  size_t count_ = 0;  // also of rules that were forgotten again
  FilterRules rules_;
};

Result<FilterRules> FilterRules::FromOptions(std::span<const RuleText> texts) {
  Parser parser(/*is_of_directory=*/false);
  for (const RuleText& text : texts) RETURN_IF_ERROR(parser.Add(text));
  return parser.Take();
}

Result<FilterRules> FilterRules::FromDirectory(std::string origin, std::string content) {
  Parser parser(/*is_of_directory=*/true);
  RETURN_IF_ERROR(
      parser.Add({RuleSyntax::kFilter, /*is_file=*/true, std::move(origin), std::move(content)}));
  return parser.Take();
}

FilterRules::Verdict FilterRules::MatchRange(size_t begin, size_t end,
                                             const FilterSubject& subject) const {
  for (size_t i = begin; i < end; ++i) {
    if (!rules_[i].Matches(subject)) continue;
    return rules_[i].excludes() ? Verdict::kExcluded : Verdict::kIncluded;
  }
  return Verdict::kNoRule;
}

FilterRules::Verdict FilterRules::Match(const FilterSubject& subject) const {
  return MatchRange(0, rules_.size(), subject);
}

FilterRules::Verdict FilterRules::MatchBeforeDirectories(const FilterSubject& subject) const {
  return MatchRange(0, directories_at_, subject);
}

FilterRules::Verdict FilterRules::MatchAfterDirectories(const FilterSubject& subject) const {
  return MatchRange(directories_at_, rules_.size(), subject);
}

bool FilterRules::Includes(std::string_view path_from_root, bool is_directory) const {
  for (size_t end = path_from_root.find('/'); end != std::string_view::npos;
       end = path_from_root.find('/', end + 1)) {
    const FilterSubject above{.path = path_from_root.substr(0, end), .is_directory = true};
    if (Match(above) == Verdict::kExcluded) return false;
  }
  return Match({.path = path_from_root, .is_directory = is_directory}) != Verdict::kExcluded;
}

uint64_t FilterRules::ComputeDigest() const {
  std::string text = clears_inherited_ ? "!" : "";
  for (size_t i = 0; i <= rules_.size(); ++i) {
    if (i == directories_at_) text += std::string(":") + '\0';
    if (i < rules_.size()) text += rules_[i].Canonical() + '\0';
  }
  return XXH3_64bits(text.data(), text.size());
}

}  // namespace tandem::meta
