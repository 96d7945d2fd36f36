#include "replica/source/survey.h"

#include <unistd.h>

#include <algorithm>
#include <thread>

#include "meta/base/cpu_priority.h"
#include "meta/base/io_priority.h"
#include "meta/base/printable.h"
#include "meta/source/directory_names.h"
#include "replica/hash.h"
#include "replica/source/tuning.h"
#include "replica/source/verify_compare.h"

namespace tandem::replica {
namespace {

using What = VerifyItem::What;

}  // namespace

// ---- The stack ---------------------------------------------------------------------------------

void Survey::Add(VerifyItem item) {
  MutexLock lock(mutex_);
  todo_.push_back(std::move(item));
  changed_.NotifyAll();
}

bool Survey::empty() {
  MutexLock lock(mutex_);
  return todo_.empty();
}

std::vector<VerifyItem> Survey::TakeSuspects() {
  MutexLock lock(mutex_);
  return std::exchange(suspects_, {});
}

void Survey::Suspect(VerifyItem item) {
  MutexLock lock(mutex_);
  suspects_.push_back(std::move(item));
}

// The replica does not find what it has listed before.
Status Survey::SuspectObject(VerifyItem item) {
  if (++item.tries > kMaxJudgements) {
    return MakeError(ErrorKind::kProtocol, "the replica lists " + Printable(item.path) +
                                               ", and says that it does not have it");
  }
  item.what = What::kObject;
  Suspect(std::move(item));
  return {};
}

bool Survey::IsTimeToEnd() {
  MutexLock lock(mutex_);
  return MustEnd();
}

std::vector<VerifyItem> Survey::Left() {
  MutexLock lock(mutex_);
  return todo_;
}

bool Survey::IsFirstName(const ObjectId& object) {
  MutexLock lock(mutex_);
  return met_.insert(object).second;
}

void Survey::ForgetName(const ObjectId& object) {
  MutexLock lock(mutex_);
  met_.erase(object);
}

void Survey::ForgetNames() {
  MutexLock lock(mutex_);
  met_.clear();
}

Status Survey::Run(const PeerSession& session, CondVar::Clock::time_point deadline) {
  {
    MutexLock lock(mutex_);
    failed_ = {};
    deadline_ = deadline;
  }
  std::vector<std::thread> threads;
  for (int i = 0; i < kSurveyThreads; ++i) threads.emplace_back([&] { Work(session); });
  for (std::thread& thread : threads) thread.join();
  MutexLock lock(mutex_);
  return std::exchange(failed_, {});
}

void Survey::Work(const PeerSession& session) {
  if (options_.idle_io) SetIoPriority(IoPriority::kIdle);
  // Where objects are found by their names, operations share locks with it.
  const LowCpuPriority low(/*may_be_idle=*/tree_.by_names() == nullptr);
  while (auto item = Next()) {
    const Status status =
        item->what == What::kNames ? CompareNames(session, *item) : CompareContent(session, *item);
    Done(std::move(*item), status);
  }
}

std::optional<VerifyItem> Survey::Next() {
  MutexLock lock(mutex_);
  while (todo_.empty() && working_ > 0 && !MustEnd()) changed_.Wait(mutex_);
  if (todo_.empty() || MustEnd()) {
    changed_.NotifyAll();
    return std::nullopt;
  }
  std::optional<VerifyItem> item = std::move(todo_.back());
  todo_.pop_back();
  ++working_;
  return item;
}

void Survey::Done(VerifyItem item, const Status& status) {
  const bool unreadable =
      !status && (meta::IsUnreadable(status.error()) || Peer::IsUnreadableThere(status.error()));
  if (unreadable) tally_.Report({"unreadable", item.path, status.error().ToString()});
  MutexLock lock(mutex_);
  --working_;
  if (!status && !unreadable) {
    todo_.push_back(std::move(item));
    if (failed_) failed_ = status;
  }
  changed_.NotifyAll();
}

// ---- Names -------------------------------------------------------------------------------------

bool Survey::IsSmall(uint64_t size) const {
  return size <= kMaxListedContent && size / options_.digests.block_size < kMaxListedDigests;
}

Result<Survey::Ours> Survey::ReadOurs(const VerifyItem& directory, const meta::SourceObject& opened,
                                      const std::string& name) {
  Ours ours;
  ours.name = name;
  const Status read = [&]() -> Status {
    if (!options_.content && tree_.by_names() == nullptr) return ReadUnopened(opened, ours);
    ASSIGN_OR_RETURN(auto named, tree_.OpenName(opened, directory.object.id, name));
    if (!named) return {};
    ours.object = std::move(named->ref);
    ASSIGN_OR_RETURN(ours.attributes, named->object.ReadAttributes(meta::WithXattrs::kYes));
    const meta::Attributes& attributes = ours.attributes;
    if (!options_.content) rate_.Take(0, 1, stopping_);
    const bool listed_with_digests = options_.content && attributes.kind == meta::Kind::kFile &&
                                     attributes.size > 0 && attributes.link_count == 1 &&
                                     IsSmall(attributes.size);
    if (!listed_with_digests) return {};
    rate_.Take(attributes.size, 1, stopping_);
    ASSIGN_OR_RETURN(const int fd, named->object.ContentFd());
    ASSIGN_OR_RETURN(Digests digests, DigestBlocks(fd, 0, attributes.size, options_.digests));
    ours.digests = std::move(digests.digests);
    return {};
  }();
  if (!read && !meta::IsUnreadable(read.error())) return tl::unexpected<Error>(read.error());
  if (!read) ours.unreadable = read.error();
  return ours;
}

Status Survey::ReadUnopened(const meta::SourceObject& opened, Ours& ours) {
  rate_.Take(0, 1, stopping_);
  ASSIGN_OR_RETURN(ours.object, tree_.Lookup(opened.path_fd(), ours.name.c_str()));
  if (!ours.object) return {};
  auto read = meta::ReadAttributesAt(opened.path_fd(), ours.name.c_str());
  if (!read && meta::IsGone(read.error())) {
    ours.object.reset();
    return {};
  }
  ASSIGN_OR_RETURN(ours.attributes, std::move(read));
  return {};
}

// A page of our names, which are read while the replica reads the same ones.
class Survey::Page {
 public:
  using Names = std::vector<std::string>;
  Page(Survey& survey, const VerifyItem& directory, const meta::SourceObject& opened,
       Names::const_iterator begin, Names::const_iterator end)
      : survey_(survey), directory_(directory), opened_(opened), next_(begin), end_(end) {}

  // Reads ahead, until about kReadAhead bytes of content have been read.
  Status ReadAhead() {
    uint64_t bytes = 0;
    while (next_ != end_ && bytes < kReadAhead && !survey_.stopping_) {
      ASSIGN_OR_RETURN(Ours ours, survey_.ReadOurs(directory_, opened_, *next_++));
      if (!ours.digests.empty()) bytes += ours.attributes.size;
      ready_.push_back(std::move(ours));
    }
    return {};
  }
  // Returns the first name that has not been popped; null at the end.
  Result<const Ours*> Front() {
    if (first_ == ready_.size()) {
      ready_.clear();
      first_ = 0;
      if (next_ == end_) return nullptr;
      ASSIGN_OR_RETURN(Ours ours, survey_.ReadOurs(directory_, opened_, *next_++));
      ready_.push_back(std::move(ours));
    }
    return &ready_[first_];
  }
  void Pop() { ++first_; }

 private:
  static constexpr uint64_t kReadAhead = 8 << 20;

  Survey& survey_;
  const VerifyItem& directory_;
  const meta::SourceObject& opened_;
  Names::const_iterator next_;
  const Names::const_iterator end_;
  std::vector<Ours> ready_;
  size_t first_ = 0;
};

Status Survey::CompareNames(const PeerSession& session, VerifyItem& item) {
  tree_.NoteNameIfForgotten(item.object.id, item.parent.id, item.name);
  ASSIGN_OR_RETURN(const std::optional<meta::SourceObject> directory, tree_.Open(item.object));
  if (!directory) return {};
  ASSIGN_OR_RETURN(const meta::Attributes attributes,
                   directory->ReadAttributes(meta::WithXattrs::kNo));
  if (attributes.link_count == 0) return {};  // removed since it was met, but in use
  if (item.names == nullptr) {
    ASSIGN_OR_RETURN(auto names, meta::ReadNames(directory->path_fd()));
    item.names = std::make_shared<const std::vector<std::string>>(std::move(names));
  }
  const auto& names = *item.names;
  const auto begin = std::ranges::upper_bound(names, item.after);
  auto end = item.up_to.empty() ? names.end() : std::ranges::upper_bound(names, item.up_to);
  if (end - begin > kNamesInAPage) {
    end = begin + kNamesInAPage;
    VerifyItem rest = item;
    rest.after = item.up_to = *std::prev(end);
    Add(std::move(rest));
  }
  Page ours(*this, item, *directory, begin, end);
  size_t listed_names = 0;
  for (bool more = true; more;) {
    List ask;
    ask.directory = item.object.id;
    ask.origin = Origin::kDisk;
    ask.with_xattrs = true;
    ask.after = item.after;
    ask.up_to = item.up_to;
    const uint64_t most = uint64_t{options_.digests.block_size} * (kMaxListedDigests - 1);
    ask.digests_up_to = options_.content ? std::min(kMaxListedContent, most) : 0;
    ask.digests = options_.digests;
    ask.live = true;
    ASSIGN_OR_RETURN(PeerSession::Pending answer, session.Send(std::move(ask)));
    RETURN_IF_ERROR(ours.ReadAhead());
    ASSIGN_OR_RETURN(const Reply reply, answer.Wait());
    if (reply.code == ReplyCode::kNotFound) return SuspectObject(item);
    RETURN_IF_ERROR(Peer::ToStatus(reply));
    const auto* theirs = std::get_if<Listing>(&reply.body);
    const bool leads_nowhere =
        theirs == nullptr ||
        (theirs->entries.empty() ? theirs->more : theirs->entries.front().name <= item.after);
    if (leads_nowhere) {
      return MakeError(ErrorKind::kProtocol, "list: the replica's answer does not go on");
    }
    more = theirs->more;
    listed_names += theirs->entries.size();
    if (listed_names > kMaxNamesListed) {
      return MakeError(ErrorKind::kProtocol,
                       "list: the replica lists a directory that does not end");
    }
    // Ours before `name`, or all that are left, the replica has not listed.
    const auto only_ours = [&](const std::string* name) -> Status {
      while (true) {
        ASSIGN_OR_RETURN(const Ours* front, ours.Front());
        if (front == nullptr || (name != nullptr && front->name >= *name)) return {};
        CompareListed(item, front, nullptr);
        ours.Pop();
      }
    };
    for (const Listed& listed : theirs->entries) {
      if (stopping_) return MakeError(ErrorKind::kCancelled, "verify: stopped");
      if (!item.up_to.empty() && listed.name > item.up_to) {  // an older replica does not know it
        more = false;
        break;
      }
      RETURN_IF_ERROR(only_ours(&listed.name));
      ASSIGN_OR_RETURN(const Ours* front, ours.Front());
      const bool both = front != nullptr && front->name == listed.name;
      CompareListed(item, both ? front : nullptr, &listed);
      if (both) ours.Pop();
      item.after = listed.name;
    }
    if (!more) RETURN_IF_ERROR(only_ours(nullptr));
    if (more && IsTimeToEnd()) {
      Add(item);
      return {};
    }
  }
  return {};
}

void Survey::CompareListed(const VerifyItem& directory, const Ours* ours, const Listed* theirs) {
  const std::string& name = ours != nullptr ? ours->name : theirs->name;
  if (ours != nullptr && ours->unreadable) {
    tally_.Report({"unreadable", directory.PathOf(name), ours->unreadable->ToString()});
    return;
  }
  const bool exists = ours != nullptr && ours->object;
  if (!exists && theirs == nullptr) return;
  const bool equal = exists && theirs != nullptr && theirs->unreadable.empty() &&
                     ours->object->id == theirs->object &&
                     ours->attributes.kind == theirs->attributes.kind &&
                     AttributeDifference(ours->attributes, theirs->attributes).empty() &&
                     ours->attributes.xattrs == theirs->attributes.xattrs;
  if (!equal) {
    VerifyItem suspect{What::kName, directory.object, directory.path, directory.parent, name};
    Suspect(std::move(suspect));
    return;
  }
  tally_.AddObject();
  const meta::Attributes& attributes = ours->attributes;
  VerifyItem next{What::kNames, *ours->object, directory.PathOf(name), directory.object, name};
  if (attributes.kind == meta::Kind::kDirectory) {
    Add(std::move(next));
    return;
  }
  if (attributes.kind != meta::Kind::kFile || attributes.size == 0 || !options_.content) return;
  next.what = What::kContent;
  if (ours->digests.empty() || theirs->digests.empty()) {
    if (attributes.link_count == 1 || IsFirstName(ours->object->id)) Add(std::move(next));
    return;
  }
  if (ours->digests == theirs->digests) {
    tally_.AddBytes(attributes.size);
    return;
  }
  next.end = attributes.size;
  Suspect(std::move(next));
}

// ---- Content -----------------------------------------------------------------------------------

// Returns the part that is compared at a time: a hole may be larger than data.
ByteRange Survey::WindowAt(int fd, uint64_t offset, uint64_t end) const {
  const uint64_t block = options_.digests.block_size;
  const auto whole_blocks = [block](uint64_t bytes) { return bytes / block * block; };
  uint64_t length = std::max(whole_blocks(window_), block);
  length = std::min(length, block * kMaxDigestBlocks);
  const off_t data = lseek(fd, static_cast<off_t>(offset), SEEK_DATA);
  const uint64_t next_data =
      data >= 0 ? static_cast<uint64_t>(data) : (errno == ENXIO ? end : offset);
  if (next_data - offset > length) {
    const uint64_t most = whole_blocks(std::min(kMaxDigestWindow, block * kMaxDigestBlocks));
    length = std::max(length, std::min(most, whole_blocks(next_data - offset)));
  }
  return {offset, std::min(end, offset + length)};
}

// A disk may be so slow that the answer to a large window comes too late.
void Survey::NoteTime(CondVar::Clock::duration took, bool answered) {
  const uint64_t window = window_;
  if (!answered || took > kWindowIsSlow) {
    window_ = std::max(window / 2, std::min(kLeastVerifyWindow, options_.window));
  } else if (took < kWindowIsQuick) {
    window_ = std::min(window * 2, options_.window);
  }
}

// One side cannot read something in the window. Comparing halves of it finds which block.
void Survey::SuspectBlockOf(VerifyItem window) {
  const uint64_t block = options_.digests.block_size;
  const uint64_t blocks = (window.end - window.offset + block - 1) / block;
  if (blocks <= 1) {
    Suspect(std::move(window));
    return;
  }
  VerifyItem half = window;
  half.offset = window.end = window.offset + blocks / 2 * block;
  Add(std::move(half));
  Add(std::move(window));
}

Status Survey::CompareContent(const PeerSession& session, VerifyItem& item) {
  if (item.nothing_from != nullptr && item.offset >= *item.nothing_from) return {};
  tree_.NoteNameIfForgotten(item.object.id, item.parent.id, item.name);
  ASSIGN_OR_RETURN(std::optional<meta::SourceObject> object, tree_.Open(item.object));
  if (!object) return {};
  ASSIGN_OR_RETURN(const meta::Attributes attributes,
                   object->ReadAttributes(meta::WithXattrs::kNo));
  const uint64_t end = item.end == 0 ? attributes.size : std::min(item.end, attributes.size);
  // Removed since it was met, but in use: the replica may have removed it.
  if (item.offset >= end || attributes.link_count == 0) return {};
  ASSIGN_OR_RETURN(const int fd, object->ContentFd());
  const ByteRange window = WindowAt(fd, item.offset, end);
  if (window.end < end) {
    if (item.nothing_from == nullptr) {
      item.nothing_from = std::make_shared<std::atomic<uint64_t>>(ByteRange::kEndOfFile);
    }
    VerifyItem rest = item;
    rest.offset = window.end;
    Add(std::move(rest));
  }
  item.end = window.end;
  rate_.Take(window.length(), item.offset == 0 ? 1 : 0, stopping_);
  const auto asked = CondVar::Clock::now();
  ASSIGN_OR_RETURN(
      PeerSession::Pending answer,
      session.Send(GetDigests{item.object.id, window.start, window.length(), options_.digests,
                              /*live=*/true}));
  const auto ours = DigestBlocks(fd, window.start, window.length(), options_.digests, &stopping_);
  if (!ours && meta::IsUnreadable(ours.error()) && window.length() > options_.digests.block_size) {
    // Its answer is awaited: halves are not asked for while the replica still reads the whole.
    (void)answer.Wait();
    SuspectBlockOf(std::move(item));
    return {};
  }
  if (!ours) return tl::unexpected<Error>(ours.error());
  const auto answered = answer.Wait();
  // A larger one is a hole.
  if (window.length() <= window_) NoteTime(CondVar::Clock::now() - asked, answered.has_value());
  ASSIGN_OR_RETURN(const Reply reply, answered);
  if (reply.code == ReplyCode::kNotFound) {
    ForgetName(item.object.id);
    return SuspectObject(item);
  }
  if (reply.code == ReplyCode::kUnreadable) {
    SuspectBlockOf(std::move(item));
    return {};
  }
  RETURN_IF_ERROR(Peer::ToStatus(reply));
  const auto* theirs = std::get_if<Digests>(&reply.body);
  if (theirs == nullptr) return MakeError(ErrorKind::kProtocol, "digests: answer of another kind");
  if (ours->digests == theirs->digests) {
    tally_.AddBytes(window.length());
  } else {
    SuspectContent(item, *ours, *theirs);
  }
  return {};
}

// Suspects the blocks that differ, with those in between, in pieces that are judged quickly, and
// everything behind the end of what the replica has as one.
void Survey::SuspectContent(VerifyItem window, const Digests& ours, const Digests& theirs) {
  const uint64_t block = options_.digests.block_size;
  const ByteRange range{window.offset, window.end};
  uint64_t there = range.end;  // the replica has content up to here
  if (ours.file_size != theirs.file_size) {
    there = std::clamp((theirs.file_size + block - 1) / block * block, range.start, range.end);
  }
  if (there < range.end) {
    if (window.nothing_from == nullptr) {
      window.nothing_from = std::make_shared<std::atomic<uint64_t>>(ByteRange::kEndOfFile);
    }
    uint64_t from = *window.nothing_from;
    while (there < from && !window.nothing_from->compare_exchange_weak(from, there)) {
    }
    if (there < from) {
      window.offset = there;
      Suspect(window);
    } else {  // another window has found it to end earlier
      there = std::clamp(from, range.start, range.end);
    }
  }
  const uint64_t most = std::max(kJudgeWindow / block * block, block);
  uint64_t equal = there - range.start;
  ByteRange piece{range.start, range.start};
  const auto suspect_piece = [&] {
    if (piece.empty()) return;
    window.offset = piece.start;
    window.end = piece.end;
    Suspect(window);
    equal -= piece.length();
  };
  for (const ByteRange& differing :
       DifferingBlocks(ours.digests, theirs.digests, DigestSize(options_.digests.algorithm), range,
                       options_.digests.block_size)) {
    const uint64_t end = std::min(differing.end, there);
    if (differing.start >= end) continue;
    if (!piece.empty() && end - piece.start <= most) {
      piece.end = end;
      continue;
    }
    for (uint64_t at = differing.start; at < end; at = piece.end) {
      suspect_piece();
      piece = {at, std::min(at + most, end)};
    }
  }
  suspect_piece();
  tally_.AddBytes(equal);
}

}  // namespace tandem::replica
