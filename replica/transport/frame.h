// One message of the SP protocol, as it arrives: a buffer that grows with what has come, so that a
// length alone costs its sender everything and this side no memory. Plain value, movable.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <utility>

namespace tandem::replica {

class Frame {
 public:
  // Bytes of a request's number, with which a message of nng's REQ and REP begins: 32 bits, big
  // endian, with the highest bit set.
  static constexpr size_t kIdBytes = 4;

  Frame() = default;
  explicit Frame(size_t size) : size_(size) {}
  Frame(Frame&& other) noexcept { *this = std::move(other); }
  Frame& operator=(Frame&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(room_, other.room_);
    std::swap(filled_, other.filled_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Frame() { std::free(data_); }

  size_t size() const { return size_; }
  size_t filled() const { return filled_; }
  bool complete() const { return filled_ == size_; }

  // Returns the place of the next bytes, as many as there is room for now, growing if there is
  // none. Returns an empty one if memory is short.
  std::pair<char*, size_t> Next() {
    if (filled_ == room_ && !Grow()) return {nullptr, 0};
    return {data_ + filled_, room_ - filled_};
  }
  void Filled(size_t bytes) { filled_ += bytes; }

  uint32_t id() const {
    uint32_t id = 0;
    for (size_t i = 0; i < kIdBytes; ++i) id = id << 8 | static_cast<unsigned char>(data_[i]);
    return id;
  }
  // Requires that the frame is complete and has an id.
  std::string_view body() const { return {data_ + kIdBytes, size_ - kIdBytes}; }

 private:
  static constexpr size_t kFirstRoom = 64 << 10;
  static constexpr size_t kGrowth = 32;

  bool Grow() {
    // Room is memory only once bytes have come, and each growth may copy them.
    const size_t room = std::min(size_, std::max(kFirstRoom, kGrowth * room_));
    void* const data = std::realloc(data_, room);
    if (data == nullptr) return false;
    data_ = static_cast<char*>(data);
    room_ = room;
    return true;
  }

  char* data_ = nullptr;
  size_t room_ = 0;
  size_t filled_ = 0;
  size_t size_ = 0;
};

}  // namespace tandem::replica
