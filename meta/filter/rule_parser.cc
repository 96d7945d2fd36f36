#include "meta/filter/rule_parser.h"

#include <string>

#include "meta/base/escape.h"

namespace tandem::meta {
namespace {

constexpr char kRulesExpected[] =
    "\"- PATTERN\" to exclude, \"+ PATTERN\" to include, or \"!\" to forget the rules before is "
    "expected";

enum class Verb { kExclude, kInclude, kClear, kDirectoryMerge, kMerge, kOneSided };

struct VerbName {
  char brief;
  std::string_view name;
  Verb verb;
};
constexpr VerbName kVerbs[] = {
    {'-', "exclude", Verb::kExclude}, {'+', "include", Verb::kInclude},
    {'!', "clear", Verb::kClear},     {':', "dir-merge", Verb::kDirectoryMerge},
    {'.', "merge", Verb::kMerge},     {'H', "hide", Verb::kOneSided},
    {'S', "show", Verb::kOneSided},   {'P', "protect", Verb::kOneSided},
    {'R', "risk", Verb::kOneSided},
};

bool IsSeparator(char c) { return c == ' ' || c == '_'; }

// Takes the verb from the front of `rest`, with the comma behind it. After it come modifiers (which
// a long name has only behind a comma), a separator or the end.
std::optional<Verb> TakeVerb(std::string_view& rest) {
  for (const VerbName& known : kVerbs) {
    const bool is_brief = rest.starts_with(known.brief);
    if (!is_brief && !rest.starts_with(known.name)) continue;
    std::string_view after = rest.substr(is_brief ? 1 : known.name.size());
    const bool has_comma = after.starts_with(',');
    if (!is_brief && !has_comma && !after.empty() && !IsSeparator(after.front())) continue;
    if (has_comma) after.remove_prefix(1);
    rest = after;
    return known.verb;
  }
  return std::nullopt;
}

// Returns why a modifier is refused.
std::string WhyNot(char modifier) {
  switch (modifier) {
    case 's':
    case 'r':
      return std::string("the modifier \"") + modifier +
             "\" limits a rule to one side of a transfer, but what a volume excludes is excluded "
             "everywhere; leave it out";
    case 'p':
      return "the modifier \"p\" (perishable) concerns directories that a transfer deletes, which "
             "do not exist here; leave it out";
    case 'x':
      return "the modifier \"x\" filters extended attributes, but rules here choose files and "
             "directories only; remove the rule";
    case 'C':
      return "the modifier \"C\" (CVS's list) is not known here; write the patterns you need";
    default:
      return EscapeControls(std::string("\"") + modifier +
                            "\" is no modifier: only \"/\" and \"!\" are expected");
  }
}

tl::unexpected<Error> Refuse(std::string_view rule, const std::string& why) {
  constexpr size_t kShown = 80;
  const bool is_long = rule.size() > kShown;
  return MakeError(ErrorKind::kUsage, "\"" + EscapeControls(rule.substr(0, kShown)) +
                                          (is_long ? "...\": " : "\": ") + why);
}

// Returns whether the pattern can only mean the directory that it is relative to.
bool NamesRoot(std::string_view pattern) {
  return pattern.find_first_not_of('/') == std::string_view::npos || pattern == "." ||
         pattern == "./" || pattern == "/." || pattern == "/./";
}

Result<ParsedRule> MakeRule(std::string_view text, const FilterRule::Form& form) {
  if (form.pattern.empty()) {
    return Refuse(text, "the pattern is missing: " + std::string(kRulesExpected));
  }
  if (form.excludes && !form.is_negated && NamesRoot(form.pattern)) {
    return Refuse(text,
                  "this names the root itself, which cannot be excluded; to exclude all that is in "
                  "it, write \"- /*\"");
  }
  return ParsedRule{ParsedRule::Kind::kRule, FilterRule(form)};
}

// Parses what follows "-" or "+": MODIFIERS, a separator, PATTERN.
Result<ParsedRule> ParsePattern(std::string_view text, std::string_view rest, bool excludes) {
  FilterRule::Form form{.excludes = excludes};
  for (; !rest.empty() && !IsSeparator(rest.front()); rest.remove_prefix(1)) {
    if (rest.front() == '/') {
      form.is_absolute = true;
    } else if (rest.front() == '!') {
      form.is_negated = true;
    } else {
      return Refuse(text, WhyNot(rest.front()));
    }
  }
  if (!rest.empty()) form.pattern = rest.substr(1);
  return MakeRule(text, form);
}

Result<ParsedRule> ParseFilter(std::string_view text) {
  std::string_view rest = text;
  const std::optional<Verb> verb = TakeVerb(rest);
  if (!verb) return Refuse(text, "this is no rule: " + std::string(kRulesExpected));
  switch (*verb) {
    case Verb::kExclude:
    case Verb::kInclude:
      return ParsePattern(text, rest, *verb == Verb::kExclude);
    case Verb::kClear:
      if (rest.empty()) return ParsedRule{ParsedRule::Kind::kClear};
      return Refuse(text, "nothing is expected after \"!\"");
    case Verb::kDirectoryMerge:
      if (!rest.empty() && IsSeparator(rest.front()) && rest.substr(1) == kDirectoryRulesName) {
        return ParsedRule{ParsedRule::Kind::kDirectoryRules};
      }
      return Refuse(text, "the rules file of a directory is always " +
                              std::string(kDirectoryRulesName) +
                              ": only \": " + std::string(kDirectoryRulesName) + "\" is expected");
    case Verb::kMerge:
      return Refuse(text,
                    "rules files are not merged into each other here; name the file with "
                    "--exclude-from or --include-from");
    case Verb::kOneSided:
      return Refuse(
          text,
          "hide, show, protect and risk concern one side of a transfer, but what a volume "
          "excludes is excluded everywhere: " +
              std::string(kRulesExpected));
  }
  return Refuse(text, kRulesExpected);
}

}  // namespace

Result<ParsedRule> ParseRule(std::string_view text, RuleSyntax syntax) {
  if (text.empty()) return ParsedRule{};
  if (text.find('\0') != std::string_view::npos) {
    return Refuse(text, "a rule cannot have a NUL byte, because no name has one");
  }
  if (text.size() > kMostPatternBytes) {
    return Refuse(text, "a rule has at most " + std::to_string(kMostPatternBytes) + " bytes");
  }
  if (syntax == RuleSyntax::kFilter) return ParseFilter(text);
  if (text == "!") return ParsedRule{ParsedRule::Kind::kClear};
  const bool has_prefix = text.starts_with("- ") || text.starts_with("+ ");
  const bool excludes = has_prefix ? text.front() == '-' : syntax == RuleSyntax::kExclude;
  return MakeRule(text, {.excludes = excludes, .pattern = text.substr(has_prefix ? 2 : 0)});
}

}  // namespace tandem::meta
