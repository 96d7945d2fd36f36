#include "replica/store/content_finder.h"

#include <algorithm>
#include <exception>
#include <string>

#include "meta/base/cpu_priority.h"
#include "meta/base/log.h"
#include "replica/apply/file_data.h"
#include "replica/apply/tree.h"
#include "replica/content_chunks.h"
#include "replica/hash.h"
#include "replica/store/inspect.h"
#include "replica/store/redo_pause.h"
#include "replica/store/tuning.h"
#include "replica/store/volume_replies.h"

namespace tandem::replica {
namespace {

// Returns the digest of the range, or nullopt if the file does not have all of it, or there is
// none.
Result<std::optional<std::string>> DigestOf(int fd, uint64_t offset, uint64_t length) {
  ASSIGN_OR_RETURN(const auto hasher, Hasher::Create(HashAlgorithm::kBlake2b));
  for (uint64_t at = 0; at < length;) {
    const uint64_t wanted = std::min(length - at, kReadToDigest);
    const auto bytes = ReadUpTo(fd, offset + at, wanted);
    if (!bytes || bytes->size() != wanted) return std::nullopt;
    hasher->Update(*bytes);
    at += wanted;
  }
  return hasher->Finish();
}

}  // namespace

// ---- The index ---------------------------------------------------------------------------------

// Opening it may take a while.
std::shared_ptr<ChunkIndex> ContentFinder::OpenIndex() {
  MutexLock lock(index_mutex_);
  if (HasNoIndex()) return nullptr;
  if (index_ != nullptr) return index_;
  auto opened = ChunkIndex::Open(place_.path(), kMostChunks);
  if (opened) {
    index_ = std::move(*opened);
    return index_;
  }
  GiveUpLocked(opened.error());
  return nullptr;
}

void ContentFinder::GiveUpIndex(const Error& why) {
  MutexLock lock(index_mutex_);
  GiveUpLocked(why);
}

void ContentFinder::GiveUpLocked(const Error& why) {
  index_ = nullptr;  // opened anew, it is made anew if it is damaged
  no_index_until_ = CondVar::Clock::now() + kTryIndexAgain;
  if (const auto more = failures_.Suffix(why.ToString())) {
    LogWarning("volume {}: content that is here already may be sent again: {}{}", place_.name(),
               why.ToString(), *more);
  }
}

void ContentFinder::NoteWritten(const std::vector<ContentPlace>& written) {
  if (written.empty()) return;
  MutexLock lock(mutex_);
  if (HasNoIndex() || stopping_) return;
  try {
    for (const ContentPlace& place : written) {
      if (written_.size() >= kMostToIndex) break;
      written_.push_back(place);
    }
    wake_.NotifyAll();
    if (running_) return;
    // One that has ended takes no lock any more.
    if (thread_.joinable()) thread_.join();
    thread_ = std::thread([this] { Run(); });
    running_ = true;
  } catch (const std::exception&) {
    // No memory, or no thread: the next redo tries again.
  }
}

void ContentFinder::Stop() {
  std::thread thread;
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    wake_.NotifyAll();
    thread = std::move(thread_);
  }
  if (thread.joinable()) thread.join();
}

// Ends when there has been nothing to do for a while.
void ContentFinder::Run() {
  const LowCpuPriority low(/*may_be_idle=*/false);
  for (;;) {
    ContentPlace next;
    {
      MutexLock lock(mutex_);
      const auto until = CondVar::Clock::now() + kIndexerLingers;
      while (!stopping_ && written_.empty() && wake_.WaitUntil(mutex_, until)) {
      }
      if (HasNoIndex()) written_.clear();
      if (stopping_ || written_.empty()) {
        running_ = false;
        return;
      }
      next = written_.front();
      written_.pop_front();
    }
    Status done;
    try {
      done = Index(next);
    } catch (const std::exception& e) {  // out of memory
      done = ErrnoError(ENOMEM, e.what());
    }
    if (!done && done.error().kind() != ErrorKind::kCancelled) GiveUpIndex(done.error());
  }
}

Status ContentFinder::Index(const ContentPlace& written) {
  const std::shared_ptr<ChunkIndex> index = OpenIndex();
  if (index == nullptr) return {};
  const UniqueFd fd = OpenObject(written.object);
  if (!fd.valid()) return {};
  std::string bytes;
  uint64_t start = written.offset;  // of `bytes` in the file
  uint64_t left = written.length;
  std::vector<ChunkIndex::Row> rows;
  while (left > 0 || !bytes.empty()) {
    if (stopping_) return MakeError(ErrorKind::kCancelled, "note chunks: stopping");
    const uint64_t wanted = std::min<uint64_t>(left, kIndexWindow);
    auto read = ReadUpTo(fd.get(), start + bytes.size(), wanted);
    if (!read) return {};  // the disk is damaged there
    left = read->size() < wanted ? 0 : left - wanted;
    bytes += *read;
    ASSIGN_OR_RETURN(std::vector<ContentChunk> chunks, CutContent(bytes));
    size_t done = bytes.size();
    if (left > 0 && chunks.size() > 1) {
      done = chunks.back().offset;  // ends with the bytes, and is cut once more with those to come
      chunks.pop_back();
    }
    rows.clear();
    for (const ContentChunk& chunk : chunks) {
      rows.push_back({chunk.name, written.object, start + chunk.offset, chunk.length});
    }
    RETURN_IF_ERROR(index->Put(rows));
    bytes.erase(0, done);
    start += done;
  }
  return {};
}

// ---- Requests ----------------------------------------------------------------------------------

UniqueFd ContentFinder::OpenObject(ObjectId object) {
  const KeptCatalog::Lock lock(catalog_);
  Tree tree(place_.root_fd(), place_.hold_fd(), catalog_.catalog());
  auto opened = OpenFile(tree, object);
  return opened ? std::move(*opened) : UniqueFd();
}

const ContentFinder::Opened* ContentFinder::Open(OpenFiles& files, ObjectId object) {
  const auto known = files.find(object);
  if (known != files.end()) return &known->second;
  if (files.size() >= kMostFilesToFind) return nullptr;
  Opened opened = {OpenObject(object), place_.kept().Find(object)};
  return &files.emplace(object, std::move(opened)).first->second;
}

// One at a time: each may read a lot, and a source asks the next when it has the answer. Of
// another, one that was sent again for example, nothing is found.
Reply ContentFinder::Take(const FindContent& find) {
  if (finding_.exchange(true)) {
    return Ok(FoundContent{{},
                           std::string(find.ranges.size() * kContentDigestBytes, '\0'),
                           std::vector<uint64_t>(find.files.size())});
  }
  struct Done {
    std::atomic<bool>& finding;
    ~Done() { finding = false; }
  } const done{finding_};
  return Answer(find);
}

Reply ContentFinder::Answer(const FindContent& find) {
  OpenFiles files;
  FoundContent found;
  {
    // A redo under way may take long.
    const RedoPause pause(queue_);
    if (pause.refusal()) return *pause.refusal();
  }
  Status done = FindChunks(find, files, found);
  if (done) done = DigestRanges(find, files, found);
  if (done) done = NameFiles(find, found);
  return done ? Ok(std::move(found)) : place_.Failure(done.error());
}

Result<const UniqueFd*> ContentFinder::FileWith(const ChunkIndex::Row& row, OpenFiles& files) {
  if (row.length > kMostChunk) return nullptr;
  const Opened* const files_of = Open(files, row.object);
  if (files_of == nullptr) return nullptr;
  for (const UniqueFd& fd : *files_of) {
    ASSIGN_OR_RETURN(const auto digest, DigestOf(fd.get(), row.offset, row.length));
    if (digest && ChunkName(*digest) == row.name) return &fd;
  }
  return nullptr;
}

Status ContentFinder::FindChunks(const FindContent& find, OpenFiles& files, FoundContent& found) {
  const std::shared_ptr<ChunkIndex> index = find.chunks.empty() ? nullptr : OpenIndex();
  if (index == nullptr) return {};
  // Where the last run goes on.
  const UniqueFd* last_file = nullptr;
  uint64_t next_offset = 0;
  for (size_t i = 0; i < find.chunks.size(); ++i) {
    auto row = index->Find(find.chunks[i]);
    if (!row) {
      GiveUpIndex(row.error());
      return {};
    }
    if (!*row) continue;
    ASSIGN_OR_RETURN(const UniqueFd* const file, FileWith(**row, files));
    if (file == nullptr) {
      if (const auto forgotten = index->Forget(find.chunks[i]); !forgotten) {
        GiveUpIndex(forgotten.error());
      }
      continue;
    }
    ContentRun* const last = found.runs.empty() ? nullptr : &found.runs.back();
    if (last != nullptr && last->first + last->count == i && file == last_file &&
        next_offset == (*row)->offset) {
      ++last->count;
    } else {
      found.runs.push_back({static_cast<uint32_t>(i), 1, (*row)->object, (*row)->offset});
    }
    last_file = file;
    next_offset = (*row)->offset + (*row)->length;
  }
  return {};
}

Status ContentFinder::DigestRanges(const FindContent& find, OpenFiles& files, FoundContent& found) {
  for (const ContentPlace& range : find.ranges) {
    const Opened* const files_of = Open(files, range.object);
    std::optional<std::string> digest;
    // What is written anew goes on where the old content did: beyond what has been written.
    for (size_t i = 0; files_of != nullptr && !digest && i < files_of->size(); ++i) {
      ASSIGN_OR_RETURN(digest, DigestOf((*files_of)[i].get(), range.offset, range.length));
    }
    found.digests += digest.value_or(std::string(kContentDigestBytes, '\0'));
  }
  return {};
}

Status ContentFinder::NameFiles(const FindContent& find, FoundContent& found) {
  for (const ObjectId& file : find.files) {
    found.names.push_back(0);
    const UniqueFd fd = OpenObject(file);
    if (!fd.valid()) continue;
    const auto content = ReadUpTo(fd.get(), 0, kMostOfSmallFile + 1);
    if (!content || content->empty() || content->size() > kMostOfSmallFile) continue;
    ASSIGN_OR_RETURN(const std::string digest, ContentDigest(*content));
    found.names.back() = ChunkName(digest);
  }
  return {};
}

}  // namespace tandem::replica
