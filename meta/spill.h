// Where values that frozen cuts keep go: to memory first, then to a file without a name. Both are
// bounded; at the limit a cut is given up, never an operation (DESIGN section 4, "Reading a frozen
// cut").
//
// Any thread. Value values must not outlive the spill.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "meta/base/mutex.h"
#include "meta/base/result.h"
#include "meta/base/unique_fd.h"

namespace tandem::meta {

class Spill {
 public:
  struct Limits {
    uint64_t memory = 64 << 20;
    uint64_t file = uint64_t{1} << 30;
  };

  // A value that is value. Moved-from ones hold nothing.
  class Value {
   public:
    Value() = default;
    Value(Value&& other) noexcept { *this = std::move(other); }
    Value& operator=(Value&& other) noexcept;
    ~Value() { Free(); }

    // `buffer.size()` bytes from `offset` within the value.
    Status Read(uint64_t offset, std::span<char> buffer) const;

   private:
    friend class Spill;
    void Free();

    Spill* spill_ = nullptr;
    std::string bytes_;                // in memory
    std::optional<uint64_t> at_ = {};  // in the file
    uint64_t length_ = 0;              // counted against a limit
  };

  // `directory` holds the file; created at the first need, so that an error shows then.
  Spill(std::string directory, Limits limits);

  // Nothing: there is no room, or the file cannot be written.
  std::optional<Value> Store(std::string bytes) EXCLUDES(mutex_);
  // Counts what is kept elsewhere in memory (attributes). Nothing: there is no room.
  std::optional<Value> ChargeMemory(uint64_t bytes);

  uint64_t memory_used() const { return memory_used_; }
  uint64_t file_used() EXCLUDES(mutex_);

 private:
  bool TakeMemory(uint64_t bytes);
  std::optional<uint64_t> WriteToFile(std::string_view bytes) EXCLUDES(mutex_);
  void FreeInFile(uint64_t bytes) EXCLUDES(mutex_);

  const std::string directory_;
  const Limits limits_;
  std::atomic<uint64_t> memory_used_{0};
  Mutex mutex_;
  UniqueFd file_ GUARDED_BY(mutex_);
  // Values are appended; the file begins afresh when nothing in it is kept any more.
  uint64_t file_end_ GUARDED_BY(mutex_) = 0;
  uint64_t file_used_ GUARDED_BY(mutex_) = 0;
  std::atomic<int> file_fd_{-1};
};

}  // namespace tandem::meta
