// Collects what a comparison finds, and prints it: one line a difference on
// stdout, errors on stderr.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace tandem::compare {

class Report {
 public:
  explicit Report(uint64_t limit) : limit_(limit) {}

  // "PATH: WHAT: A vs B". `path` is raw bytes; the rest must be printable.
  void Difference(std::string_view path, std::string_view what, std::string_view a,
                  std::string_view b);

  // `side` could not be examined; `error` is an errno.
  void Error(std::string_view side, std::string_view path, std::string_view call, int error);

  void CountObject() { ++objects_; }

  // One line on stderr; returns the exit code.
  int Conclude() const;

 private:
  const uint64_t limit_;  // On the differences printed; all are counted.
  uint64_t objects_ = 0;
  uint64_t differences_ = 0;
  uint64_t errors_ = 0;
};

}  // namespace tandem::compare
