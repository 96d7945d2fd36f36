// One thread of a workload: its random stream, what the operation it is in
// has done so far, and the descriptors it keeps from operation to operation.
// Used by that thread alone. The Config must outlive it.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <type_traits>

#include "tests/programs/lib/escape.h"
#include "tests/programs/lib/fd.h"
#include "tests/programs/lib/random.h"
#include "tests/programs/lib/workload_config.h"
#include "tests/programs/lib/workload_names.h"

namespace tandem::workload {

// A system call that failed.
struct Failure {
  std::string call;
  int error = 0;  // 0: it transferred fewer bytes than it should.

  std::string Text() const;
};

class Actor {
 public:
  static constexpr size_t kMaxTransfer = 1 << 20;

  Actor(const Config* config, int process, int thread);

  // Forgets the previous operation. Every operation has a random stream of
  // its own, derived from (seed, process, thread, index): what one operation
  // happened to meet does not alter what the next one draws.
  void Begin(uint64_t index);

  const Config& config() const { return *config_; }
  const NamePool& names() const { return names_; }
  const Path& own_area() const { return own_area_; }
  programs::Random& random() { return random_; }

  // Reports the result of a system call, just made: true if it succeeded.
  // `also_expected` are errors which this call, unlike others, may give.
  bool Try(const char* call, ssize_t result, std::initializer_list<int> also_expected = {});

  // The same for a call that should transfer exactly `wanted` bytes.
  bool TryTransfer(const char* call, ssize_t result, size_t wanted);

  // The same for a look at what is there: only unexpected errors count.
  bool Observe(const char* call, ssize_t result);

  void Fail(const char* call, int error, std::initializer_list<int> also_expected = {});

  // Appends to the description of this operation.
  template <typename... Parts>
  void Note(const Parts&... parts) {
    ((note_ += ' ', note_ += ToText(parts)), ...);
  }

  // Random bytes of various compressibility, page aligned, valid until the
  // next call. length <= kMaxTransfer.
  std::span<char> Data(size_t length);

  // Descriptors that stay open over many operations.
  struct HeldFile {
    programs::Fd fd;
    Path opened_as;
  };
  HeldFile& RandomHeldFile() { return held_[random_.Below(held_.size())]; }

  // The outcome of this operation.
  const std::optional<Failure>& first_failure() const { return failure_; }
  const std::optional<Failure>& first_unexpected() const { return unexpected_; }
  bool disconnected() const { return disconnected_; }
  // "p0.t1 #17 pwrite shared/f3 4096+100 -> ok"
  std::string Description() const;

 private:
  static std::string ToText(const Path& path) { return programs::Escape(path.bytes); }
  static std::string ToText(const char* text) { return text; }
  static std::string ToText(const std::string& text) { return text; }
  template <typename T>
  requires std::is_integral_v<T>
  static std::string ToText(T number) { return std::to_string(number); }

  bool Tolerates(int error, std::initializer_list<int> also_expected) const;

  const Config* config_;
  uint64_t process_;
  uint64_t thread_;
  Path own_area_;
  NamePool names_;
  programs::Random random_;
  std::unique_ptr<char, void (*)(void*)> buffer_;
  std::array<HeldFile, 4> held_;

  uint64_t index_ = 0;
  std::string note_;
  std::optional<Failure> failure_;
  std::optional<Failure> unexpected_;
  bool disconnected_ = false;
};

}  // namespace tandem::workload
