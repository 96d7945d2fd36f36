// Lists of filter rules: their syntax, what is refused, limits, digests.
#include "meta/filter/filter_rules.h"

#include <gmock/gmock.h>

#include <set>

#include "tests/unit/filter_texts.h"

namespace tandem::meta {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string FilterComplaint(const std::string& filter) {
  return Complaint({RuleSyntax::kFilter, false, "--filter", filter});
}

std::string FileComplaint(const std::string& content) {
  return Complaint({RuleSyntax::kExclude, true, "/etc/rules", content});
}

TEST(FilterRules, TheFirstThatMatchesDecides) {
  const FilterRules rules = Filters({"+ a.o", "- *.o", "+ b.o"});
  EXPECT_EQ(rules.Match({.path = "a.o"}), FilterRules::Verdict::kIncluded);
  EXPECT_EQ(rules.Match({.path = "b.o"}), FilterRules::Verdict::kExcluded);
  EXPECT_EQ(rules.Match({.path = "c"}), FilterRules::Verdict::kNoRule);
}

TEST(FilterRules, NothingBelowAnExcludedDirectoryIsIncluded) {
  const FilterRules rules = Filters({"+ /a/keep", "- /a/", "- x"});
  EXPECT_FALSE(rules.Includes("a", kIsDirectory));
  EXPECT_FALSE(rules.Includes("a/keep", false));
  EXPECT_FALSE(rules.Includes("b/x/y/z", false));
  EXPECT_TRUE(rules.Includes("b/a/keep", false));
}

TEST(FilterRules, HaveLongAndShortNamesAndModifiers) {
  for (const std::string rule : {"- f", "-_f", "-, f", "exclude f", "exclude_f", "exclude, f"}) {
    EXPECT_FALSE(Filters({rule}).Includes("f", false)) << rule;
    EXPECT_TRUE(Filters({rule}).Includes("g", false)) << rule;
  }
  for (const std::string rule : {"+ f", "include f", "include,/ f", "+/_f"}) {
    EXPECT_TRUE(Filters({rule, "- *"}).Includes("f", false)) << rule;
  }
  for (const std::string rule : {"-! f", "-,! f", "exclude,! f", "-/! f"}) {
    EXPECT_TRUE(Filters({rule}).Includes("f", false)) << rule;
    EXPECT_FALSE(Filters({rule}).Includes("g", false)) << rule;
  }
  EXPECT_FALSE(Filters({"-! */"}).Includes("f", false));
  EXPECT_TRUE(Filters({"-! */"}).Includes("f", kIsDirectory));
  EXPECT_FALSE(Filters({"-  f"}).Includes(" f", false)) << "only one space separates";
}

TEST(FilterRules, AreForgottenAtAnExclamationMark) {
  EXPECT_TRUE(Filters({"- f", "!"}).empty());
  EXPECT_TRUE(Filters({"- f", "clear"}).empty());
  EXPECT_TRUE(RulesOf({{RuleSyntax::kExclude, false, "--exclude", "f"},
                       {RuleSyntax::kInclude, false, "--include", "!"}})
                  .empty());
  EXPECT_FALSE(PatternHits("- !", "f"));
  EXPECT_TRUE(PatternHits("- !", "!"));
}

TEST(FilterRules, OfExcludeAndIncludeOptionsAreBarePatterns) {
  const FilterRules rules = RulesOf({{RuleSyntax::kInclude, false, "--include", "keep.o"},
                                     {RuleSyntax::kExclude, false, "--exclude", "+ *.a"},
                                     {RuleSyntax::kInclude, false, "--include", "- *.b"},
                                     {RuleSyntax::kExclude, false, "--exclude", "-_x"},
                                     {RuleSyntax::kExclude, false, "--exclude", "#x"},
                                     {RuleSyntax::kExclude, false, "--exclude", ""},
                                     {RuleSyntax::kExclude, false, "--exclude", "*.?"}});
  for (const std::string name : {"keep.o", "x.a", "plain"}) {
    EXPECT_TRUE(rules.Includes(name, false)) << name;
  }
  for (const std::string name : {"x.b", "-_x", "#x", "x.o"}) {
    EXPECT_FALSE(rules.Includes(name, false)) << name;
  }
}

TEST(FilterRules, OfAFileAreItsLines) {
  for (const std::string end : {"\n", "\r\n", "\r"}) {
    std::string content = "\xef\xbb\xbf";
    for (const std::string line : {"first", "# c", "; c", "", "+ a.o", "*.o", " # x", "end "}) {
      content += line + end;
    }
    const FilterRules rules = RulesOf({{RuleSyntax::kExclude, true, "rules", content + "last"}});
    for (const std::string name : {"first", "b.o", " # x", "end ", "last"}) {
      EXPECT_FALSE(rules.Includes(name, false)) << name;
    }
    for (const std::string name : {"# c", "; c", "a.o", "end"}) {
      EXPECT_TRUE(rules.Includes(name, false)) << name;
    }
  }
}

TEST(FilterRules, ThatMeanNothingHereAreRefusedWithTheReason) {
  for (const std::string rule : {"-s f", "+r f", "-!s f"}) {
    EXPECT_THAT(FilterComplaint(rule), HasSubstr("one side of a transfer")) << rule;
  }
  for (const std::string rule : {"H f", "show f", "P f", "risk f", "protect,p f"}) {
    EXPECT_THAT(FilterComplaint(rule), HasSubstr("\"- PATTERN\" to exclude")) << rule;
  }
  EXPECT_THAT(FilterComplaint("-p f"), HasSubstr("perishable"));
  EXPECT_THAT(FilterComplaint("-x user.*"), HasSubstr("extended attributes"));
  EXPECT_THAT(FilterComplaint("-C"), HasSubstr("CVS"));
  EXPECT_THAT(FilterComplaint(". file"), HasSubstr("--exclude-from"));
  EXPECT_THAT(FilterComplaint("merge file"), HasSubstr("--exclude-from"));
  EXPECT_THAT(FilterComplaint(": .rsync-filter"), HasSubstr("only \": .tandemignore\""));
  EXPECT_THAT(FilterComplaint(":n .tandemignore"), HasSubstr("only \": .tandemignore\""));
}

TEST(FilterRules, ThatAreNoRulesAreRefused) {
  for (const std::string rule : {"f", "*.o", " - f", "excl f", "exclude! f", "# f", "EXCLUDE f"}) {
    EXPECT_THAT(FilterComplaint(rule),
                AllOf(StartsWith("--filter: \"" + rule + "\": "), HasSubstr("this is no rule")));
  }
  for (const std::string rule : {"-", "- ", "+!", "exclude", "include,/ "}) {
    EXPECT_THAT(FilterComplaint(rule), HasSubstr("the pattern is missing")) << rule;
  }
  EXPECT_THAT(FilterComplaint("-n f"), HasSubstr("\"n\" is no modifier"));
  EXPECT_THAT(FilterComplaint("-f"), HasSubstr("\"f\" is no modifier"));
  EXPECT_THAT(FilterComplaint("! f"), HasSubstr("nothing is expected after \"!\""));
  EXPECT_THAT(FilterComplaint("-\x1b f"), HasSubstr("\\x1b"));
}

TEST(FilterRules, ThatExcludeTheRootAreRefused) {
  for (const std::string rule : {"- /", "- //", "- .", "- ./", "-/ /."}) {
    EXPECT_THAT(FilterComplaint(rule), HasSubstr("the root itself")) << rule;
  }
  EXPECT_EQ(FilterComplaint("- /*"), "accepted");
  EXPECT_EQ(FilterComplaint("- **"), "accepted");
  EXPECT_EQ(FilterComplaint("+ /"), "accepted") << "it says what is true";
}

TEST(FilterRules, AreRefusedWithTheFileAndTheLine) {
  EXPECT_THAT(FileComplaint("a\n# c\r\n\n- /\n"), StartsWith("/etc/rules:4: \"- /\": "));
  const auto rules = FilterRules::FromDirectory("a/.tandemignore", "- x\n*.o\n");
  ASSERT_FALSE(rules);
  EXPECT_THAT(rules.error().ToString(), StartsWith("a/.tandemignore:2: \"*.o\": this is no rule"));
  EXPECT_THAT(FilterRules::FromDirectory("a\nb", ": .tandemignore").error().ToString(),
              AllOf(StartsWith("a\\x0ab:1: "), HasSubstr("remove the line")));
}

TEST(FilterRules, HaveLimits) {
  EXPECT_EQ(FileComplaint(std::string(4096, 'x')), "accepted");
  EXPECT_THAT(FileComplaint("a\n" + std::string(4097, 'x')),
              AllOf(StartsWith("/etc/rules:2: \"xxx"), HasSubstr("at most 4096 bytes")));
  EXPECT_THAT(FileComplaint(std::string("a\0b", 3)), HasSubstr("NUL"));
  std::string many;
  for (int i = 0; i < 10'000; ++i) many += "x\n";
  EXPECT_EQ(FileComplaint(many), "accepted");
  EXPECT_THAT(FileComplaint(many + "x"), HasSubstr("/etc/rules:10001: there are more than 10000"));
  EXPECT_EQ(FileComplaint(std::string(1 << 20, '\n')), "accepted");
  EXPECT_THAT(FileComplaint(std::string((1 << 20) + 1, '\n')), HasSubstr("at most 1 MiB"));
}

TEST(FilterRules, HaveADigestOfWhatDecides) {
  const auto digest = [](const std::string& content) { return OfDirectory(content).digest(); };
  EXPECT_EQ(digest("# c\n- a\n"), digest("exclude a"));
  EXPECT_EQ(digest("- a"), RulesOf({{RuleSyntax::kExclude, false, "--exclude", "a"}}).digest());
  EXPECT_EQ(Filters({}).digest(), digest(""));
  const std::string different[] = {
      "",    "!",        "- a",      "+ a",      "-! a",       "-/ a", "- a/", "- /a", "- a a",
      "- b", "- a\n- b", "- b\n- a", "!\n- a\n", "- a\n- a\n", "- A",  "- a*", "-!/ a"};
  std::set<uint64_t> digests;
  for (const std::string& content : different) digests.insert(digest(content));
  EXPECT_EQ(digests.size(), std::size(different));
  EXPECT_NE(Filters({"- a", ": .tandemignore"}).digest(), Filters({"- a"}).digest());
  EXPECT_EQ(Filters({": .tandemignore", "- a"}).digest(), Filters({"- a"}).digest());
  EXPECT_EQ(digest("- a\n+ b/**"), 0xf9761ea721bad876U)
      << "digests are compared between hosts and versions";
}

}  // namespace
}  // namespace tandem::meta
