#include "replica/source/read_ahead.h"

#include <algorithm>
#include <cstring>
#include <exception>

#include "replica/source/tuning.h"

namespace tandem::replica {
namespace {

// Answers from memory what has been read ahead, and reads the rest.
class ReadObject final : public meta::ObjectReader {
 public:
  explicit ReadObject(meta::SourceObject object) : object_(std::move(object)) {}

  void ReadNow(bool all) {
    with_xattrs_ = all ? meta::WithXattrs::kYes : meta::WithXattrs::kNo;
    auto attributes = object_->ReadAttributes(with_xattrs_);
    if (!attributes) return;
    attributes_ = std::move(*attributes);
    if (!all) return;
    if (attributes_->kind == meta::Kind::kFile && !ReadContent()) return;
    object_.reset();
  }

  Result<meta::Attributes> ReadAttributes(meta::WithXattrs with_xattrs) const override {
    const bool has_them =
        attributes_ && (with_xattrs == meta::WithXattrs::kNo || with_xattrs == with_xattrs_);
    if (has_them) return *attributes_;
    return object_->ReadAttributes(with_xattrs);
  }

  Result<size_t> Read(uint64_t offset, std::span<char> buffer) override {
    if (!content_) return object_->Read(offset, buffer);
    if (offset >= content_->size()) return size_t{0};
    const size_t count = std::min<size_t>(buffer.size(), content_->size() - offset);
    std::memcpy(buffer.data(), content_->data() + offset, count);
    return count;
  }

  Result<meta::Layout> ReadLayout(ByteRange range, size_t limit) override {
    if (!content_) return object_->ReadLayout(range, limit);
    meta::Layout layout;
    layout.end = range.end;
    range.end = std::min<uint64_t>(range.end, content_->size());
    if (range.start < range.end) layout.data.push_back(range);
    return layout;
  }

 private:
  // Returns false if content is left to be read: the file is large, has holes or cannot be read.
  bool ReadContent() {
    const uint64_t size = attributes_->size;
    if (size == 0) {
      content_.emplace();
      return true;
    }
    if (size > kReadAheadBytes) return false;
    const ByteRange all{0, size};
    const auto layout = object_->ReadLayout(all, 2);
    if (!layout || layout->data != std::vector{all}) return false;
    std::string content(size, '\0');
    const auto filled = object_->Read(0, content);
    if (!filled || *filled != size) return false;
    content_ = std::move(content);
    return true;
  }

  std::optional<meta::SourceObject> object_;  // unless all has been read
  meta::WithXattrs with_xattrs_ = meta::WithXattrs::kNo;
  std::optional<meta::Attributes> attributes_;
  std::optional<std::string> content_;
};

int ThreadCount() {
  const int processors = static_cast<int>(std::thread::hardware_concurrency());
  return std::min(processors, kReadAheadThreads);
}

}  // namespace

ReadAhead::Opened ReadAhead::Read(const Wanted& wanted) const {
  auto opened = tree_.Open(wanted.object);
  if (!opened) return tl::unexpected<Error>(std::move(opened.error()));
  if (!*opened) return nullptr;
  auto object = std::make_unique<ReadObject>(std::move(**opened));
  object->ReadNow(wanted.all);
  return object;
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
  while (threads_.size() < static_cast<size_t>(ThreadCount())) {
    threads_.emplace_back(&ReadAhead::Run, this);
  }
  work_.NotifyAll();
}

bool ReadAhead::MayClaim() const {
  return claimed_ < wanted_.size() && claimed_ < taken_ + kMostReadAhead;
}

ReadAhead::Opened ReadAhead::Take(const meta::ObjectRef& object) {
  Wanted mine{object, false};
  {
    MutexLock lock(mutex_);
    size_t at = taken_;
    while (at < wanted_.size() && wanted_[at].object.id != object.id) ++at;
    if (at < wanted_.size()) {
      taken_ = at + 1;
      // Only now and then, so that a thread that wakes up finds something to do.
      if (taken_ % kReadAtATime == 0 && MayClaim()) work_.NotifyOne();
      if (at < claimed_) {
        while (!read_[at]) done_.Wait(mutex_);
        return *std::move(read_[at]);
      }
      claimed_ = taken_;
      mine.all = wanted_[at].all;
    }
  }
  return Read(mine);
}

void ReadAhead::Run() {
  while (true) {
    size_t first = 0;
    std::vector<Wanted> wanted;
    {
      MutexLock lock(mutex_);
      while (!stopping_ && !MayClaim()) work_.Wait(mutex_);
      if (stopping_) return;
      first = claimed_;
      claimed_ = std::min(wanted_.size(), first + kReadAtATime);
      wanted.assign(wanted_.begin() + static_cast<ptrdiff_t>(first),
                    wanted_.begin() + static_cast<ptrdiff_t>(claimed_));
      ++reading_;
    }
    std::vector<Opened> read;
    for (const Wanted& object : wanted) {
      try {
        read.push_back(Read(object));
      } catch (const std::exception& e) {
        read.push_back(ErrnoError(ENOMEM, e.what()));
      }
    }
    MutexLock lock(mutex_);
    --reading_;
    for (size_t i = 0; i < read.size(); ++i) read_[first + i] = std::move(read[i]);
    done_.NotifyAll();
  }
}

}  // namespace tandem::replica
