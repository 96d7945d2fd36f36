// Matches byte strings against the wildcards of rsync's filter rules (rsync(1), "PATTERN MATCHING
// RULES"): ? * ** [class] and the backslash. Written from the manual. Immutable; any thread.
//
// Bound: a match takes at most (elements of the pattern) * (bytes of the text) steps, because it
// follows all ways through the pattern at once instead of trying one after the other. It allocates
// nothing and needs about 1 KiB of stack.
#pragma once

#include <bitset>
#include <cstdint>
#include <string_view>
#include <vector>

namespace tandem::meta {

// The longest pattern, in bytes, without its terminator.
inline constexpr size_t kMostPatternBytes = 4096;

class WildPattern {
 public:
  // The text is `name` between optional slashes.
  struct Text {
    bool slash_before = false;
    std::string_view name;
    bool slash_after = false;
  };
  enum class Begin { kAtStart, kAfterAnySlash };

  // Returns whether `pattern` has a wildcard, so that rsync takes its backslashes for escapes.
  static bool HasWildcards(std::string_view pattern);

  // `pattern` has at most kMostPatternBytes. A pattern with a class that does not end, an unknown
  // POSIX class, or a backslash at its end matches nothing, as in rsync.
  explicit WildPattern(std::string_view pattern);

  // Returns whether the pattern matches the text from its start, or from its start or behind any of
  // its slashes, to its end.
  bool Matches(const Text& text, Begin begin) const;

 private:
  using ByteSet = std::bitset<256>;
  enum class Kind : uint8_t { kByte, kNotSlash, kClass, kWithinName, kAnything };
  struct Element {
    Kind kind;
    uint8_t byte = 0;
    uint16_t class_index = 0;
  };
  struct States;
  class ClassParser;

  void Append(Element element);
  static bool IsStar(const Element& element) { return element.kind >= Kind::kWithinName; }
  bool Accepts(const Element& element, uint8_t byte) const;
  void Enter(States& states, size_t at) const;
  void Step(States& states, uint8_t byte, Begin begin) const;

  std::vector<Element> elements_;  // never two stars in a row
  std::vector<ByteSet> classes_;
  size_t least_bytes_ = 0;
  bool never_ = false;
};

}  // namespace tandem::meta
