#include "meta/capture/spill.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "meta/base/log.h"
#include "meta/base/read_at.h"

namespace tandem::meta {

Spill::Spill(std::string directory, Limits limits)
    : directory_(std::move(directory)), limits_(limits) {}

Spill::Value& Spill::Value::operator=(Value&& other) noexcept {
  if (this == &other) return *this;
  Free();
  spill_ = std::exchange(other.spill_, nullptr);
  bytes_ = std::exchange(other.bytes_, {});
  at_ = std::exchange(other.at_, std::nullopt);
  length_ = std::exchange(other.length_, 0);
  return *this;
}

void Spill::Value::Free() {
  if (spill_ == nullptr) return;
  if (at_) {
    spill_->FreeInFile(length_);
  } else {
    spill_->memory_used_ -= length_;
  }
  spill_ = nullptr;
}

Status Spill::Value::Read(uint64_t offset, std::span<char> buffer) const {
  if (!at_) {
    std::copy_n(bytes_.data() + offset, buffer.size(), buffer.data());
    return {};
  }
  ASSIGN_OR_RETURN(const size_t filled,
                   ReadAt(spill_->file_fd_, *at_ + offset, buffer, "read spill file"));
  if (filled < buffer.size()) return ErrnoError(EIO, "read spill file in " + spill_->directory_);
  return {};
}

std::optional<Spill::Value> Spill::Store(std::string bytes) {
  Value value;
  value.length_ = bytes.size();
  if (TakeMemory(bytes.size())) {
    value.bytes_ = std::move(bytes);
  } else {
    value.at_ = WriteToFile(bytes);
    if (!value.at_) return std::nullopt;
  }
  value.spill_ = this;
  return value;
}

std::optional<Spill::Value> Spill::ChargeMemory(uint64_t bytes) {
  if (!TakeMemory(bytes)) return std::nullopt;
  Value value;
  value.length_ = bytes;
  value.spill_ = this;
  return value;
}

uint64_t Spill::file_used() {
  MutexLock lock(mutex_);
  return file_used_;
}

bool Spill::TakeMemory(uint64_t bytes) {
  if (memory_used_.fetch_add(bytes) + bytes <= limits_.memory) return true;
  memory_used_ -= bytes;
  return false;
}

std::optional<uint64_t> Spill::WriteToFile(std::string_view bytes) {
  uint64_t at = 0;
  {
    MutexLock lock(mutex_);
    if (!file_.valid()) {
      file_.Reset(open(directory_.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
      if (!file_.valid()) {
        LogWarning("{}", ErrnoError("create spill file in " + directory_).value().ToString());
        return std::nullopt;
      }
      file_fd_ = file_.get();
    }
    if (file_end_ + bytes.size() > limits_.file) return std::nullopt;
    at = file_end_;
    file_end_ += bytes.size();
    file_used_ += bytes.size();
  }
  size_t written = 0;
  while (written < bytes.size()) {
    const ssize_t count = pwrite(file_fd_, bytes.data() + written, bytes.size() - written,
                                 static_cast<off_t>(at + written));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      LogWarning("{}", ErrnoError("write spill file in " + directory_).value().ToString());
      FreeInFile(bytes.size());
      return std::nullopt;
    }
    written += static_cast<size_t>(count);
  }
  return at;
}

void Spill::FreeInFile(uint64_t bytes) {
  MutexLock lock(mutex_);
  file_used_ -= bytes;
  if (file_used_ != 0) return;
  file_end_ = 0;
  // If this fails, it only occupies disk space for longer.
  (void)!ftruncate(file_.get(), 0);
}

}  // namespace tandem::meta
