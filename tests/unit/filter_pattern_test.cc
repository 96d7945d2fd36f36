// What the patterns of filter rules match.
#include "meta/filter/wild_pattern.h"
#include "tests/unit/filter_texts.h"

namespace tandem::meta {
namespace {

TEST(FilterPattern, WithoutASlashMatchesTheLastComponent) {
  EXPECT_TRUE(PatternHits("foo", "foo"));
  EXPECT_TRUE(PatternHits("foo", "a/b/foo/"));
  EXPECT_FALSE(PatternHits("foo", "foo/a"));
  EXPECT_FALSE(PatternHits("foo", "xfoo"));
  EXPECT_TRUE(PatternHits("*.o", "a/x.o"));
  EXPECT_TRUE(PatternHits("*", "a/x.o"));
}

TEST(FilterPattern, WithASlashMatchesThatManyLastComponents) {
  EXPECT_TRUE(PatternHits("foo/bar", "foo/bar"));
  EXPECT_TRUE(PatternHits("foo/bar", "a/foo/bar"));
  EXPECT_FALSE(PatternHits("foo/bar", "afoo/bar"));
  EXPECT_FALSE(PatternHits("foo/bar", "bar"));
  EXPECT_TRUE(PatternHits("f*/b?r", "a/foo/bar"));
  EXPECT_FALSE(PatternHits("f*/bar", "foo/a/bar"));
  EXPECT_FALSE(PatternHits("foo//bar", "foo/bar"));
}

TEST(FilterPattern, WithALeadingSlashIsAnchored) {
  EXPECT_TRUE(PatternHits("/foo", "foo"));
  EXPECT_FALSE(PatternHits("/foo", "a/foo"));
  EXPECT_TRUE(PatternHits("/*/foo", "a/foo"));
  EXPECT_FALSE(PatternHits("/*/foo", "a/b/foo"));
  EXPECT_FALSE(PatternHits("//foo", "foo"));
}

TEST(FilterPattern, WithATrailingSlashMatchesDirectoriesOnly) {
  EXPECT_TRUE(PatternHits("foo/", "a/foo/"));
  EXPECT_FALSE(PatternHits("foo/", "a/foo"));
  EXPECT_TRUE(PatternHits("*/", "a/foo/"));
  EXPECT_FALSE(PatternHits("foo//", "foo/"));
}

TEST(FilterPattern, OneStarAndAQuestionMarkStopAtASlash) {
  EXPECT_TRUE(PatternHits("/a*c", "abbc"));
  EXPECT_TRUE(PatternHits("/a*c", "ac"));
  EXPECT_FALSE(PatternHits("/a*c", "ab/bc"));
  EXPECT_TRUE(PatternHits("/a?c", "abc"));
  EXPECT_FALSE(PatternHits("/a?c", "a/c"));
  EXPECT_FALSE(PatternHits("/a?c", "ac"));
}

TEST(FilterPattern, TwoStarsMatchSlashesToo) {
  EXPECT_TRUE(PatternHits("/a/**", "a/b/c"));
  EXPECT_FALSE(PatternHits("/a/**", "a/"));
  EXPECT_TRUE(PatternHits("a/**/c", "x/a/b/b/c"));
  EXPECT_FALSE(PatternHits("a/**/c", "a/c"));
  EXPECT_TRUE(PatternHits("a**c", "x/ab/bc"));
  EXPECT_FALSE(PatternHits("a**c", "xab/bc"));
  EXPECT_TRUE(PatternHits("**/foo", "foo"));
  EXPECT_TRUE(PatternHits("**/foo", "a/b/foo"));
  EXPECT_FALSE(PatternHits("/**/foo", "foo")) << "an anchored one wants a slash, as in rsync";
}

TEST(FilterPattern, ThreeTrailingStarsMatchADirectoryAndAllBelow) {
  EXPECT_TRUE(PatternHits("a/***", "a/"));
  EXPECT_TRUE(PatternHits("a/***", "a/b/c"));
  EXPECT_FALSE(PatternHits("a/***", "a")) << "a file";
  EXPECT_FALSE(PatternHits("a/***", "b/"));
}

TEST(FilterPattern, AClassMatchesOneOfItsBytes) {
  EXPECT_TRUE(PatternHits("[a-c]x", "bx"));
  EXPECT_FALSE(PatternHits("[a-c]x", "dx"));
  EXPECT_TRUE(PatternHits("[!a-c]x", "dx"));
  EXPECT_TRUE(PatternHits("[^a-c]x", "dx"));
  EXPECT_FALSE(PatternHits("[^a-c]x", "ax"));
  EXPECT_TRUE(PatternHits("[]]", "]"));
  EXPECT_TRUE(PatternHits("[!]]", "a"));
  EXPECT_TRUE(PatternHits("[a-]", "-"));
  EXPECT_TRUE(PatternHits("[-a]", "-"));
  EXPECT_TRUE(PatternHits("[\\]a]", "]"));
  EXPECT_TRUE(PatternHits("[a-c-e]", "-"));
  EXPECT_FALSE(PatternHits("[a-c-e]", "d"));
  EXPECT_FALSE(PatternHits("[c-a]", "b"));
  EXPECT_FALSE(PatternHits("/a[!x]b", "a/b")) << "no class has the slash";
  EXPECT_FALSE(PatternHits("/a[/]b", "a/b"));
}

TEST(FilterPattern, AClassMayNamePosixClasses) {
  EXPECT_TRUE(PatternHits("[[:digit:]]", "7"));
  EXPECT_FALSE(PatternHits("[[:digit:]]", "a"));
  EXPECT_TRUE(PatternHits("[[:upper:]x]", "x"));
  EXPECT_TRUE(PatternHits("[[:space:]]", " "));
  EXPECT_TRUE(PatternHits("[^[:alnum:]]", "\xe4")) << "ASCII only";
  EXPECT_TRUE(PatternHits("[[:al]", ":")) << "no POSIX class, so \"[\", \":\", \"a\" or \"l\"";
  EXPECT_FALSE(PatternHits("[[:nonsense:]]", "n"));
}

TEST(FilterPattern, AClassThatDoesNotEndMatchesNothing) {
  for (const std::string pattern : {"[", "[a", "[!", "[]", "[[:alpha:]", "[a-", "x[\\"}) {
    EXPECT_FALSE(PatternHits(pattern, pattern)) << pattern;
    EXPECT_FALSE(PatternHits(pattern, "a")) << pattern;
  }
}

TEST(FilterPattern, ABackslashEscapesOnlyBesideWildcards) {
  EXPECT_TRUE(PatternHits("a\\b", "a\\b"));
  EXPECT_FALSE(PatternHits("a\\b", "ab"));
  EXPECT_TRUE(PatternHits("a\\b*", "abc"));
  EXPECT_TRUE(PatternHits("a\\\\b*", "a\\bc"));
  EXPECT_TRUE(PatternHits("a\\*", "a*"));
  EXPECT_FALSE(PatternHits("a\\*", "ab"));
  EXPECT_FALSE(PatternHits("*\\", "a\\")) << "nothing left to escape: matches nothing";
}

TEST(FilterPattern, BytesThatAreNoTextAreBytes) {
  EXPECT_TRUE(PatternHits("\xff\x80", "\xff\x80"));
  EXPECT_TRUE(PatternHits("?", "\xff"));
  EXPECT_FALSE(PatternHits("?", "\xc3\xa4")) << "two bytes";
  EXPECT_TRUE(PatternHits("[\x80-\xff]", "\xe4"));
}

TEST(FilterPattern, HostileOnesTakeTimeInProportionToTheirLength) {
  std::string stars;
  for (int i = 0; i < 1000; ++i) stars += "*a";
  EXPECT_FALSE(PatternHits(stars + "b", std::string(4000, 'a')));
  EXPECT_TRUE(PatternHits(stars, std::string(4000, 'a')));
  std::string deep;
  for (int i = 0; i < 500; ++i) deep += "**a/*";
  EXPECT_FALSE(PatternHits(deep + "b", std::string(4000, 'a')));
  EXPECT_FALSE(PatternHits("[a" + std::string(4000, '['), "a"));
  EXPECT_TRUE(PatternHits(std::string(4096, '*'), "a"));
  EXPECT_TRUE(PatternHits(std::string(4096, '?'), std::string(4096, 'a')));
}

}  // namespace
}  // namespace tandem::meta
