#include "replica/source/read_ahead.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <exception>
#include <system_error>

#include "replica/source/tuning.h"

namespace tandem::replica {
namespace {

// Answers from memory.
class ReadObject final : public meta::ObjectReader {
 public:
  // Returns null if something is left to be read, or could not be read.
  static std::unique_ptr<meta::ObjectReader> Of(meta::SourceObject object, bool all) {
    const auto with_xattrs = all ? meta::WithXattrs::kYes : meta::WithXattrs::kNo;
    auto attributes = object.ReadAttributes(with_xattrs);
    if (!attributes) return nullptr;
    auto read = std::make_unique<ReadObject>();
    read->with_xattrs_ = with_xattrs;
    read->attributes_ = std::move(*attributes);
    const bool has_content = all && read->attributes_.kind == meta::Kind::kFile;
    if (has_content && !read->ReadContent(object)) return nullptr;
    return read;
  }

  Result<meta::Attributes> ReadAttributes(meta::WithXattrs with_xattrs) const override {
    if (with_xattrs == meta::WithXattrs::kYes && with_xattrs_ == meta::WithXattrs::kNo) {
      return MakeError(ErrorKind::kUsage, "read extended attributes that were not wanted");
    }
    return attributes_;
  }

  Result<size_t> Read(uint64_t offset, std::span<char> buffer) override {
    if (offset >= content_.size()) return size_t{0};
    const size_t count = std::min<size_t>(buffer.size(), content_.size() - offset);
    std::memcpy(buffer.data(), content_.data() + offset, count);
    return count;
  }

  Result<meta::Layout> ReadLayout(ByteRange range, size_t /*limit*/) override {
    meta::Layout layout;
    layout.end = range.end;
    range.end = std::min<uint64_t>(range.end, content_.size());
    if (range.start < range.end) layout.data.push_back(range);
    return layout;
  }

 private:
  // Returns false if the file is large, has holes or cannot be read.
  bool ReadContent(meta::SourceObject& object) {
    const uint64_t size = attributes_.size;
    if (size == 0) return true;
    if (size > kReadAheadBytes) return false;
    const ByteRange all{0, size};
    const auto layout = object.ReadLayout(all, 2);
    if (!layout || layout->data.size() != 1 || layout->data.front() != all) return false;
    content_.resize(size);
    const auto filled = object.Read(0, content_);
    return filled && *filled == size;
  }

  meta::WithXattrs with_xattrs_ = meta::WithXattrs::kNo;
  meta::Attributes attributes_;
  std::string content_;
};

int ThreadCount() {
  const int processors = static_cast<int>(std::thread::hardware_concurrency());
  return std::min(processors, kReadAheadThreads);
}

}  // namespace

ReadAhead::Opened AsReader(Result<std::optional<meta::SourceObject>> opened) {
  if (!opened) return tl::unexpected<Error>(std::move(opened.error()));
  if (!*opened) return nullptr;
  return std::make_unique<meta::SourceObject>(std::move(**opened));
}

ReadAhead::Slot ReadAhead::Read(const Wanted& wanted) const noexcept {
  Slot slot;
  slot.done = true;
  try {
    auto opened = tree_.Open(wanted.object);
    const bool is_there = opened && *opened;
    if (is_there) slot.read = ReadObject::Of(std::move(**opened), wanted.all);
    slot.left = !opened || (is_there && slot.read == nullptr);
  } catch (const std::exception&) {  // out of memory
    slot.left = true;
  }
  return slot;
}

ReadAhead::~ReadAhead() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    work_.NotifyAll();
  }
  for (std::thread& thread : threads_) thread.join();
}

void ReadAhead::Begin(std::vector<Wanted> wanted) {
  MutexLock lock(mutex_);
  claimed_ = wanted_.size();
  while (reading_ > 0) done_.Wait(mutex_);
  wanted_ = std::move(wanted);
  read_.clear();
  read_.resize(wanted_.size());
  claimed_ = taken_ = 0;
  if (wanted_.size() <= kReadAtATime) return;
  try {
    while (threads_.size() < static_cast<size_t>(ThreadCount())) {
      threads_.emplace_back(&ReadAhead::Run, this);
    }
  } catch (const std::system_error&) {  // there may be a limit: Take does it
  }
  work_.NotifyAll();
}

bool ReadAhead::MayClaim() const {
  return claimed_ < wanted_.size() && claimed_ < taken_ + kMostReadAhead;
}

ReadAhead::Opened ReadAhead::Take(const meta::ObjectRef& object) {
  {
    MutexLock lock(mutex_);
    size_t at = taken_;
    while (at < wanted_.size() && wanted_[at].object.id != object.id) ++at;
    if (at < wanted_.size()) {
      taken_ = at + 1;
      // Only now and then, so that a thread that wakes up finds something to do.
      if (taken_ % kReadAtATime == 0 && MayClaim()) work_.NotifyOne();
      if (at < claimed_) {
        while (!read_[at].done) done_.Wait(mutex_);
        if (!read_[at].left) return std::move(read_[at].read);
      } else {
        claimed_ = taken_;
      }
    }
  }
  return AsReader(tree_.Open(object));
}

void ReadAhead::Run() {
  while (true) {
    const Wanted* wanted = nullptr;
    size_t first = 0;
    size_t count = 0;
    {
      MutexLock lock(mutex_);
      while (!stopping_ && !MayClaim()) work_.Wait(mutex_);
      if (stopping_) return;
      first = claimed_;
      count = std::min(wanted_.size() - first, kReadAtATime);
      claimed_ += count;
      wanted = &wanted_[first];  // stays as it is while reading_ is not 0
      ++reading_;
    }
    std::array<Slot, kReadAtATime> read;
    for (size_t i = 0; i < count; ++i) read[i] = Read(wanted[i]);
    MutexLock lock(mutex_);
    --reading_;
    for (size_t i = 0; i < count; ++i) read_[first + i] = std::move(read[i]);
    done_.NotifyAll();
  }
}

}  // namespace tandem::replica
