// The spill stores the values that operations preserve for frozen cuts: in memory first, then in a
// file without a name. Both are bounded. At the limit a cut is given up, never an operation (DESIGN
// section 4, "Reading a frozen cut").
//
// Any thread. Values must not outlive the spill.
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

  // A stored value, or memory that is charged for one. The destructor frees it. A moved-from Value
  // holds nothing.
  class Value {
   public:
    Value() = default;
    Value(Value&& other) noexcept { *this = std::move(other); }
    Value& operator=(Value&& other) noexcept;
    ~Value() { Free(); }

    // Reads buffer.size() bytes from `offset` within the value.
    Status Read(uint64_t offset, std::span<char> buffer) const;

   private:
    friend class Spill;
    void Free();

    Spill* spill_ = nullptr;
    std::string bytes_;                // the value, if it is in memory
    std::optional<uint64_t> at_ = {};  // its offset, if it is in the file
    uint64_t length_ = 0;              // charged to one of the limits
  };

  // The file is created in `directory` when it is first needed.
  Spill(std::string directory, Limits limits);

  // Returns nullopt if there is no room or the file cannot be written.
  std::optional<Value> Store(std::string bytes) EXCLUDES(mutex_);
  // Charges the memory limit for bytes that are stored elsewhere (attributes). Returns nullopt if
  // there is no room.
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
  // Values are appended. When the last value in the file is freed, the file is truncated.
  uint64_t file_end_ GUARDED_BY(mutex_) = 0;
  uint64_t file_used_ GUARDED_BY(mutex_) = 0;
  std::atomic<int> file_fd_{-1};
};

}  // namespace tandem::meta
