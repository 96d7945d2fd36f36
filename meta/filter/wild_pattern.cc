#include "meta/filter/wild_pattern.h"

#include <array>
#include <bit>
#include <optional>
#include <utility>

namespace tandem::meta {
namespace {

bool InRange(uint8_t byte, char first, char last) { return byte >= first && byte <= last; }
bool IsLower(uint8_t byte) { return InRange(byte, 'a', 'z'); }
bool IsUpper(uint8_t byte) { return InRange(byte, 'A', 'Z'); }
bool IsDigit(uint8_t byte) { return InRange(byte, '0', '9'); }
bool IsAlpha(uint8_t byte) { return IsLower(byte) || IsUpper(byte); }
bool IsAlnum(uint8_t byte) { return IsAlpha(byte) || IsDigit(byte); }
bool IsBlank(uint8_t byte) { return byte == ' ' || byte == '\t'; }
bool IsSpace(uint8_t byte) { return byte == ' ' || InRange(byte, '\t', '\r'); }
bool IsGraph(uint8_t byte) { return InRange(byte, '!', '~'); }
bool IsPrint(uint8_t byte) { return InRange(byte, ' ', '~'); }
bool IsPunct(uint8_t byte) { return IsGraph(byte) && !IsAlnum(byte); }
bool IsControl(uint8_t byte) { return byte < ' ' || byte == 0x7f; }
bool IsHexDigit(uint8_t byte) {
  return IsDigit(byte) || InRange(byte, 'a', 'f') || InRange(byte, 'A', 'F');
}

using Predicate = bool (*)(uint8_t);

// POSIX classes hold ASCII only, whatever the locale: names are bytes.
Predicate PosixClass(std::string_view name) {
  static constexpr std::pair<std::string_view, Predicate> kClasses[] = {
      {"alnum", IsAlnum}, {"alpha", IsAlpha}, {"blank", IsBlank}, {"cntrl", IsControl},
      {"digit", IsDigit}, {"graph", IsGraph}, {"lower", IsLower}, {"print", IsPrint},
      {"punct", IsPunct}, {"space", IsSpace}, {"upper", IsUpper}, {"xdigit", IsHexDigit}};
  for (const auto& [known, predicate] : kClasses) {
    if (known == name) return predicate;
  }
  return nullptr;
}

}  // namespace

// Parses the class whose "[" has been read. `at` moves behind its "]".
class WildPattern::ClassParser {
 public:
  ClassParser(std::string_view pattern, size_t& at) : pattern_(pattern), at_(at) {}

  // Returns nullopt if the class does not end or names an unknown POSIX class. A slash is in no
  // class, not even in a negated one.
  std::optional<ByteSet> Parse() {
    const bool is_negated = at_ < pattern_.size() && (Next() == '!' || Next() == '^');
    if (is_negated) ++at_;
    for (bool is_first = true; at_ < pattern_.size(); is_first = false) {
      if (Next() == ']' && !is_first) {
        ++at_;
        if (is_negated) set_.flip();
        return set_.reset('/');
      }
      if (!ParseItem()) return std::nullopt;
    }
    return std::nullopt;
  }

 private:
  uint8_t Next() const { return static_cast<uint8_t>(pattern_[at_]); }
  bool Follows(char c) const { return at_ + 1 < pattern_.size() && pattern_[at_ + 1] == c; }

  // Parses a byte, a range's "-" and end, or a POSIX class.
  bool ParseItem() {
    const bool is_last = at_ + 1 >= pattern_.size();
    if (Next() == '-' && previous_ && !is_last && !Follows(']')) {
      ++at_;
      const std::optional<uint8_t> last = ParseByte();
      if (!last) return false;
      for (size_t byte = *previous_; byte <= *last; ++byte) set_.set(byte);
      previous_.reset();
      return true;
    }
    if (Next() == '[' && Follows(':')) {
      const size_t name = at_ + 2;
      const size_t end = pattern_.find(']', name);
      if (end == std::string_view::npos) return false;
      if (end > name && pattern_[end - 1] == ':') return ParsePosixClass(name, end);
    }
    previous_ = ParseByte();
    if (previous_) set_.set(*previous_);
    return previous_.has_value();
  }

  bool ParsePosixClass(size_t name, size_t end) {
    const Predicate contains = PosixClass(pattern_.substr(name, end - 1 - name));
    if (contains == nullptr) return false;
    for (size_t byte = 0; byte < set_.size(); ++byte) {
      if (contains(static_cast<uint8_t>(byte))) set_.set(byte);
    }
    at_ = end + 1;
    previous_.reset();
    return true;
  }

  // Parses one byte, which a backslash may precede.
  std::optional<uint8_t> ParseByte() {
    if (Next() == '\\') ++at_;
    if (at_ >= pattern_.size()) return std::nullopt;
    return static_cast<uint8_t>(pattern_[at_++]);
  }

  const std::string_view pattern_;
  size_t& at_;
  ByteSet set_;
  std::optional<uint8_t> previous_;  // may begin a range
};

// The set of elements that may match the next byte; the number of elements stands for the end.
struct WildPattern::States {
  static constexpr size_t kWordBits = 64;
  using Words = std::array<uint64_t, kMostPatternBytes / kWordBits + 1>;

  explicit States(size_t elements) : word_count(elements / kWordBits + 1) {
    for (size_t i = 0; i < word_count; ++i) words[i] = 0;
  }
  void Add(size_t at) { words[at / kWordBits] |= uint64_t{1} << (at % kWordBits); }
  bool Has(size_t at) const { return (words[at / kWordBits] >> (at % kWordBits) & 1) != 0; }
  bool empty() const {
    for (size_t i = 0; i < word_count; ++i) {
      if (words[i] != 0) return false;
    }
    return true;
  }

  size_t word_count;
  Words words;  // those from word_count on are not used
};

bool WildPattern::HasWildcards(std::string_view pattern) {
  return pattern.find_first_of("*?[") != std::string_view::npos;
}

WildPattern::WildPattern(std::string_view pattern) {
  for (size_t at = 0; at < pattern.size();) {
    const char c = pattern[at++];
    if (c == '*') {
      const size_t end = std::min(pattern.find_first_not_of('*', at), pattern.size());
      Append({end > at ? Kind::kAnything : Kind::kWithinName});
      at = end;
    } else if (c == '?') {
      Append({Kind::kNotSlash});
    } else if (c == '[') {
      const std::optional<ByteSet> set = ClassParser(pattern, at).Parse();
      if (!set) never_ = true;
      if (never_) return;
      Append({Kind::kClass, 0, static_cast<uint16_t>(classes_.size())});
      classes_.push_back(*set);
    } else {
      if (c == '\\' && at == pattern.size()) never_ = true;
      if (never_) return;
      Append({Kind::kByte, static_cast<uint8_t>(c == '\\' ? pattern[at++] : c)});
    }
  }
}

void WildPattern::Append(Element element) {
  if (!IsStar(element)) ++least_bytes_;
  elements_.push_back(element);
}

bool WildPattern::Accepts(const Element& element, uint8_t byte) const {
  switch (element.kind) {
    case Kind::kByte:
      return byte == element.byte;
    case Kind::kNotSlash:
    case Kind::kWithinName:
      return byte != '/';
    case Kind::kClass:
      return classes_[element.class_index].test(byte);
    case Kind::kAnything:
      return true;
  }
  return false;
}

// A star may match nothing, so the element behind it is entered with it.
void WildPattern::Enter(States& states, size_t at) const {
  states.Add(at);
  if (at < elements_.size() && IsStar(elements_[at])) states.Add(at + 1);
}

void WildPattern::Step(States& states, uint8_t byte, Begin begin) const {
  States next(elements_.size());
  for (size_t word = 0; word < states.word_count; ++word) {
    for (uint64_t bits = states.words[word]; bits != 0; bits &= bits - 1) {
      const size_t at = word * States::kWordBits + static_cast<size_t>(std::countr_zero(bits));
      if (at == elements_.size() || !Accepts(elements_[at], byte)) continue;
      Enter(next, IsStar(elements_[at]) ? at : at + 1);
    }
  }
  if (byte == '/' && begin == Begin::kAfterAnySlash) Enter(next, 0);
  for (size_t i = 0; i < next.word_count; ++i) states.words[i] = next.words[i];
}

bool WildPattern::Matches(const Text& text, Begin begin) const {
  if (never_) return false;
  const size_t bytes = text.name.size() + text.slash_before + text.slash_after;
  if (bytes < least_bytes_) return false;
  States states(elements_.size());
  Enter(states, 0);
  if (text.slash_before) Step(states, '/', begin);
  for (const char c : text.name) {
    if (begin == Begin::kAtStart && states.empty()) return false;
    Step(states, static_cast<uint8_t>(c), begin);
  }
  if (text.slash_after) Step(states, '/', begin);
  return states.Has(elements_.size());
}

}  // namespace tandem::meta
