#include "tests/programs/lib/compare_content.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "tests/programs/lib/fd.h"

namespace tandem::compare {
namespace {

using programs::Fd;

constexpr size_t kBufferSize = 128 << 10;

// One of the two files, open, with a buffer.
class Content {
 public:
  Content(std::string_view path, const Location& at, Report* report)
      : path_(path), at_(at), report_(report) {
    // Not blocking, should the file have become a FIFO meanwhile.
    constexpr int kFlags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
    fd_ = Fd(openat(at.directory, at.name, kFlags | O_NOATIME));
    if (!fd_.ok() && errno == EPERM) {
      fd_ = Fd(openat(at.directory, at.name, kFlags));
    }
    if (!fd_.ok()) Fail("open");
  }

  bool ok() const { return fd_.ok() && !failed_; }
  const char* data() const { return buffer_.get(); }

  // The first byte of data at or after `from`; `end` if there is none, `from`
  // if the filesystem cannot tell.
  off_t NextData(off_t from, off_t end) {
    const off_t at = lseek(fd_.get(), from, SEEK_DATA);
    if (at < 0) return errno == ENXIO ? end : from;
    return std::min(at, end);
  }

  off_t NextHole(off_t from, off_t end) {
    const off_t at = lseek(fd_.get(), from, SEEK_HOLE);
    return at <= from ? end : std::min(at, end);
  }

  // Fills the buffer with [offset, offset + length).
  bool Read(off_t offset, size_t length) {
    for (size_t done = 0; done < length;) {
      const ssize_t count =
          pread(fd_.get(), buffer_.get() + done, length - done, offset + static_cast<off_t>(done));
      if (count == 0) errno = ENODATA;  // It has shrunk.
      if (count <= 0) return Fail("read");
      done += static_cast<size_t>(count);
    }
    return true;
  }

 private:
  bool Fail(const char* call) {
    report_->Error(at_.side, path_, call, errno);
    failed_ = true;
    return false;
  }

  const std::string_view path_;
  const Location at_;
  Report* report_;
  Fd fd_;
  bool failed_ = false;
  std::unique_ptr<char[]> buffer_ = std::make_unique_for_overwrite<char[]>(kBufferSize);
};

std::string Byte(char byte) {
  static constexpr char kHex[] = "0123456789abcdef";
  const auto value = static_cast<unsigned char>(byte);
  return std::string("0x") + kHex[value >> 4] + kHex[value & 15];
}

// False when there is nothing more to say: a difference or an error.
bool CompareRange(const ObjectPair& pair, off_t start, off_t end, Content* a, Content* b,
                  Report* report) {
  while (start < end) {
    const size_t length = std::min<off_t>(end - start, kBufferSize);
    if (!a->Read(start, length) || !b->Read(start, length)) return false;
    if (std::memcmp(a->data(), b->data(), length) == 0) {
      start += static_cast<off_t>(length);
      continue;
    }
    const char* stop = a->data() + length;
    const auto [in_a, in_b] = std::mismatch(a->data(), stop, b->data());
    report->Difference(pair.path, "content at byte " + std::to_string(start + (in_a - a->data())),
                       Byte(*in_a), Byte(*in_b));
    return false;
  }
  return true;
}

}  // namespace

void CompareContent(const ObjectPair& pair, Report* report) {
  const off_t end = std::min(pair.a.stat.st_size, pair.b.stat.st_size);
  if (end == 0) return;
  Content a(pair.path, pair.a.at, report);
  Content b(pair.path, pair.b.at, report);

  off_t at = 0;
  while (a.ok() && b.ok() && at < end) {
    const off_t data_a = a.NextData(at, end);
    const off_t data_b = b.NextData(at, end);
    const off_t start = std::min(data_a, data_b);
    if (start == end) return;
    const off_t stop = data_a <= data_b ? a.NextHole(start, end) : b.NextHole(start, end);
    if (!CompareRange(pair, start, stop, &a, &b, report)) return;
    at = stop;
  }
}

}  // namespace tandem::compare
