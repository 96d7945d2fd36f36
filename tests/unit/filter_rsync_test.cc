// Compares what filter rules include with what rsync's do, over random trees and random rules.
#include <gtest/gtest.h>

#include <array>
#include <filesystem>
#include <map>
#include <random>
#include <set>
#include <sstream>

#include "meta/filter/directory_filter.h"
#include "tests/files.h"
#include "tests/mount_fixture.h"
#include "tests/process.h"
#include "tests/scratch.h"

namespace tandem::meta {
namespace {

// Stands for the root where a pattern must be absolute: rsync's begins with the path of the tree.
constexpr std::string_view kRootMarker = "@ROOT@";

std::string WithRoot(std::string text, const std::string& root) {
  for (size_t at; (at = text.find(kRootMarker)) != std::string::npos;) {
    text.replace(at, kRootMarker.size(), root);
  }
  return text;
}

struct RandomCase {
  std::vector<std::string> directories;             // "" and "a/", parents first
  std::vector<std::string> files;                   // "a/b"
  std::map<std::string, std::string> ignore_files;  // by directory
  std::vector<RuleText> options;
  bool names_place = false;  // the options have ": .tandemignore"
};

// Makes random cases. Names are few and patterns are made of their pieces, so most rules match.
class CaseMaker {
 public:
  explicit CaseMaker(uint32_t seed) : random_(seed) {}

  RandomCase Make() {
    MakeTree("", 0);
    for (const std::string& directory : made_.directories) {
      if (OneIn(3)) made_.ignore_files[directory] = IgnoreFile();
    }
    MakeOptions();
    return made_;
  }

 private:
  size_t Below(size_t limit) { return random_() % limit; }
  bool OneIn(size_t count) { return Below(count) == 0; }
  template <typename Choices>
  std::string Pick(const Choices& choices) {
    return std::string(choices[Below(std::size(choices))]);
  }

  void MakeTree(const std::string& directory, int depth) {
    static constexpr const char* kNames[] = {
        "a",    "b",   "ab",   "abc", "ba",   "a.o", "b.o", "core", "A",        "a b", "[a", "a]",
        "a\\b", "a*b", "\xff", "-a",  "a\\*", "7",   "!",   "#a",   "\xc3\xa4", "^",   "a_"};
    static constexpr const char* kDirectories[] = {"a", "b",   "ab",  "abc",
                                                   "d", "d.o", "a b", "\xff"};
    made_.directories.push_back(directory);
    std::set<std::string> taken;
    for (size_t i = 1 + Below(4); i > 0 && depth < 4; --i) {
      const std::string name = Pick(kDirectories);
      if (taken.insert(name).second) MakeTree(directory + name + "/", depth + 1);
      if (depth > 1) break;
    }
    for (size_t i = Below(6); i > 0; --i) {
      const std::string name = Pick(kNames);
      if (taken.insert(name).second) made_.files.push_back(directory + name);
    }
  }

  // Returns a piece of a path of the tree, so that the pattern has something to match.
  std::string RealPath() {
    std::string path =
        OneIn(2) || made_.files.empty() ? Pick(made_.directories) : Pick(made_.files);
    if (path.ends_with('/')) path.pop_back();
    for (size_t cuts = Below(3); cuts > 0 && path.find('/') != std::string::npos; --cuts) {
      path = path.substr(path.find('/') + 1);
    }
    return path.empty() ? "a" : path;
  }

  // Replaces some bytes by wildcards.
  std::string Blurred(const std::string& path) {
    static constexpr const char* kWild[] = {"*",           "?",
                                            "**",          "[a-c]",
                                            "[!x]",        "[^a]",
                                            "[[:alpha:]]", "*b",
                                            "\\a",         "[[:punct:]]",
                                            "*o",          "[]a]",
                                            "[a\\]b]",     "\\*",
                                            "[",           "***",
                                            "[b-]",        "[[:al]",
                                            "?*",          "[[:nothing:]",
                                            "[a-c-e]",     "[[:upper:][:digit:]]",
                                            "[\x80-\xff]", "[/a]",
                                            "**/",         "/**",
                                            "\\\\"};
    std::string blurred;
    for (const char c : path) {
      const bool is_kept = (c == '/' && !OneIn(8)) || !OneIn(4);
      blurred += is_kept ? std::string(1, c) : Pick(kWild);
    }
    return blurred;
  }

  std::string Pattern() {
    std::string pattern = RealPath();
    if (!OneIn(4)) pattern = Blurred(pattern);
    if (OneIn(8)) pattern = "**/" + pattern;
    if (OneIn(3) && !pattern.starts_with('/')) pattern.insert(0, "/");
    if (OneIn(6)) pattern += "/***";
    if (OneIn(10)) pattern += "/**";
    if (OneIn(10)) pattern = "*";
    if (OneIn(5)) pattern += '/';
    // "/" is refused, and "!" would be no pattern.
    return pattern.find_first_not_of('/') == std::string::npos || pattern == "!" ? "a" : pattern;
  }

  std::string Filter() {
    std::string pattern = Pattern();
    std::string verb = OneIn(3) ? "+" : "-";
    if (OneIn(5)) verb = verb == "+" ? "include" : "exclude";
    std::string modifiers = OneIn(12) ? "!" : "";
    if (OneIn(8) && pattern.find("**") == std::string::npos) {
      modifiers += '/';
      if (pattern.starts_with('/')) pattern.insert(0, kRootMarker);
    }
    if (!modifiers.empty() && (verb.size() > 1 || OneIn(2))) modifiers.insert(0, ",");
    return verb + modifiers + (OneIn(4) ? "_" : " ") + pattern;
  }

  std::string IgnoreFile() {
    std::string content;
    for (size_t i = 1 + Below(4); i > 0; --i) {
      if (OneIn(6))
        content += Pick(std::to_array({"!\n", "# - *\n", "; - *\n", "\r\n", "clear\n"}));
      content += Filter();
      content += Pick(std::to_array({"\n", "\r\n", "\n\n"}));
    }
    return content;
  }

  RuleText Option() {
    const auto kind = Below(4);
    if (kind == 0) return {RuleSyntax::kFilter, false, "--filter", Filter()};
    if (kind == 1) return {RuleSyntax::kInclude, false, "--include", Pattern()};
    if (kind == 2) return {RuleSyntax::kExclude, false, "--exclude", Pattern()};
    const bool excludes = OneIn(2);
    std::string content;
    for (size_t i = 1 + Below(3); i > 0; --i) {
      content += Pick(std::to_array({"", "- ", "+ ", "# "}));
      content += Pattern() + "\n";
    }
    return {excludes ? RuleSyntax::kExclude : RuleSyntax::kInclude, true,
            excludes ? "--exclude-from" : "--include-from", content};
  }

  // A "!" makes rsync forget ": .tandemignore" too, so none comes after it.
  void MakeOptions() {
    const RuleText place{RuleSyntax::kFilter, false, "--filter", ": .tandemignore"};
    made_.names_place = OneIn(2);
    for (size_t i = made_.names_place ? Below(3) : 0; i > 0; --i) {
      made_.options.push_back(Option());
      if (OneIn(8)) made_.options.push_back({RuleSyntax::kExclude, false, "--exclude", "!"});
    }
    if (made_.names_place) made_.options.push_back(place);
    for (size_t i = Below(4); i > 0; --i) made_.options.push_back(Option());
  }

  std::mt19937 random_;
  RandomCase made_;
};

// The paths that are included, directories with a slash at their end.
using Included = std::set<std::string>;

// Walks the case's tree in memory.
class FilterWalk {
 public:
  explicit FilterWalk(const RandomCase& of) : case_(of) {}

  Included Run() {
    std::vector<RuleText> texts = case_.options;
    for (RuleText& text : texts) text.text = WithRoot(text.text, "");
    auto rules = FilterRules::FromOptions(texts);
    EXPECT_TRUE(rules) << rules.error().ToString();
    if (rules) Enter("", DirectoryFilter::Root(*std::move(rules), OwnRules("")));
    return included_;
  }

 private:
  std::optional<FilterRules> OwnRules(const std::string& directory) {
    const auto found = case_.ignore_files.find(directory);
    if (found == case_.ignore_files.end()) return std::nullopt;
    auto rules =
        FilterRules::FromDirectory(directory + ".tandemignore", WithRoot(found->second, ""));
    EXPECT_TRUE(rules) << rules.error().ToString();
    return rules ? std::optional(*std::move(rules)) : std::nullopt;
  }

  // Returns the name if the path is directly in the directory.
  static std::optional<std::string> NameIn(const std::string& directory, std::string path) {
    if (!path.starts_with(directory) || path == directory) return std::nullopt;
    path.erase(0, directory.size());
    if (path.ends_with('/')) path.pop_back();
    return path.find('/') == std::string::npos ? std::optional(path) : std::nullopt;
  }

  void Enter(const std::string& directory, const DirectoryFilter& filter) {
    std::vector<std::string> files = case_.files;
    if (case_.ignore_files.contains(directory)) files.push_back(directory + ".tandemignore");
    for (const std::string& file : files) {
      const auto name = NameIn(directory, file);
      if (name && filter.Includes(*name, false)) included_.insert(file);
    }
    for (const std::string& below : case_.directories) {
      const auto name = NameIn(directory, below);
      if (!name || !filter.Includes(*name, true)) continue;
      included_.insert(below);
      Enter(below, filter.Child(*name, OwnRules(below)));
    }
  }

  const RandomCase& case_;
  Included included_;
};

Included ByRsync(const RandomCase& of, const test::Scratch& scratch) {
  const std::string tree = scratch.Path("tree");
  std::filesystem::remove_all(tree);
  for (const std::string& directory : of.directories) {
    std::filesystem::create_directory(tree + "/" + directory);
  }
  for (const std::string& file : of.files) test::Write(tree + "/" + file, "");
  for (const auto& [directory, content] : of.ignore_files) {
    test::Write(tree + "/" + directory + ".tandemignore", WithRoot(content, tree));
  }
  std::vector<std::string> command = {"rsync", "-an8", "--out-format=%n"};
  if (!of.names_place) command.emplace_back("--filter=: .tandemignore");
  for (size_t i = 0; i < of.options.size(); ++i) {
    const RuleText& option = of.options[i];
    const std::string file = scratch.Path("rules" + std::to_string(i));
    if (option.is_file) test::Write(file, option.text);
    command.push_back(option.origin + "=" + (option.is_file ? file : WithRoot(option.text, tree)));
  }
  command.push_back(tree + "/");
  command.push_back(scratch.Path("copy") + "/");
  const test::Outcome outcome =
      test::Execute({.command = command, .environment = {{"LC_ALL", "C"}}});
  EXPECT_EQ(outcome.code, 0) << outcome;
  Included included;
  std::istringstream lines(outcome.out);
  for (std::string line; std::getline(lines, line);) included.insert(line);
  included.erase("./");
  included.erase("created directory " + scratch.Path("copy"));
  return included;
}

std::string Described(const RandomCase& of) {
  std::string text;
  for (const RuleText& option : of.options) text += option.origin + "=" + option.text + "\n";
  for (const auto& [directory, content] : of.ignore_files) {
    text += directory + ".tandemignore:\n" + content;
  }
  return text;
}

TEST(FilterRsync, IncludesWhatRsyncIncludes) {
  if (test::Execute({"rsync", "--version"}).code != 0) GTEST_SKIP() << "there is no rsync";
  const auto cases = static_cast<uint32_t>(test::Times(60, 1500));
  const char* const first = getenv("TANDEM_FILTER_SEED");
  const uint32_t begin = first != nullptr ? static_cast<uint32_t>(std::stoul(first)) : 1;
  const test::Scratch scratch;
  size_t included = 0;
  size_t excluded = 0;
  for (uint32_t seed = begin; seed < begin + cases; ++seed) {
    const RandomCase random_case = CaseMaker(seed).Make();
    const Included ours = FilterWalk(random_case).Run();
    ASSERT_EQ(ours, ByRsync(random_case, scratch)) << "seed " << seed << "\n"
                                                   << Described(random_case);
    included += ours.size();
    excluded += random_case.directories.size() - 1 + random_case.files.size() +
                random_case.ignore_files.size() - ours.size();
  }
  // Rules that decide nothing would agree too.
  EXPECT_GT(included, cases * 5);
  EXPECT_GT(excluded, cases * 5);
}

}  // namespace
}  // namespace tandem::meta
