#include "replica/store/replica_reader.h"

#include <unistd.h>

#include <algorithm>

#include "meta/base/cpu_priority.h"
#include "replica/apply/file_data.h"
#include "replica/apply/short_objects.h"
#include "replica/apply/tree.h"
#include "replica/content_chunks.h"
#include "replica/delta.h"
#include "replica/hash.h"
#include "replica/store/disk_listing.h"
#include "replica/store/inspect.h"
#include "replica/store/redo_pause.h"
#include "replica/store/tuning.h"
#include "replica/store/volume_replies.h"
#include "replica/wire/chunk_payload.h"

namespace tandem::replica {
namespace {

tl::unexpected<Error> Changed() {
  return MakeError(ErrorKind::kCorrupt, "resolve a delta (its basis has changed)");
}

Reply NotFound(ObjectId object) {
  return Refuse(ReplyCode::kNotFound,
                "the replica has no object " + object.ToHex() + " of that kind");
}

}  // namespace

std::optional<Reply> ReplicaReader::OpenForReading(ObjectId object, UniqueFd& fd) {
  const KeptCatalog::Lock lock(catalog_);
  if (auto refusal = catalog_.RefuseUnlessCurrent()) return *refusal;
  Tree tree(place_.root_fd(), place_.hold_fd(), catalog_.catalog());
  auto opened = OpenFile(tree, object);
  if (!opened) return place_.ReadFailure(opened.error());
  if (!opened->valid()) return NotFound(object);
  fd = std::move(*opened);
  return std::nullopt;
}

std::unique_ptr<MemoryBudget::Share> ReplicaReader::MemoryFor(size_t bytes) {
  const VolumeTerms& terms = place_.terms();
  if (terms.reading == nullptr) return nullptr;
  return std::make_unique<MemoryBudget::Share>(*terms.reading, terms.account, bytes);
}

Reply ReplicaReader::Take(const GetSignature& get) {
  const auto memory = MemoryFor(get.length);
  const RedoPause pause(queue_);
  if (pause.refusal()) return *pause.refusal();
  UniqueFd fd;
  auto refusal = OpenForReading(get.object, fd);
  fd = place_.kept().Reaching(get.offset + get.length, get.object, std::move(fd));
  if (refusal && !fd.valid()) return *refusal;
  auto signature = SignatureOf(fd.get(), get);
  return signature ? Ok(std::move(*signature)) : place_.ReadFailure(signature.error());
}

Reply ReplicaReader::Take(const GetDigests& get) {
  std::optional<RedoPause> pause(std::in_place, queue_);
  if (pause->refusal()) return *pause->refusal();
  UniqueFd fd;
  if (auto refusal = OpenForReading(get.object, fd)) return *refusal;
  const auto read = [&] { return DigestBlocks(fd.get(), get.offset, get.length, get.digests); };
  Result<Digests> digests;
  if (get.live) {
    pause.reset();
    RunAtLowCpuPriority([&] { digests = read(); });
  } else {
    digests = read();
  }
  return digests ? Ok(std::move(*digests)) : place_.ReadFailure(digests.error());
}

Reply ReplicaReader::Take(const List& list) {
  std::optional<RedoPause> pause(std::in_place, queue_);
  if (pause->refusal()) return *pause->refusal();
  if (list.origin == Origin::kDisk) return ListDisk(list, pause);
  const KeptCatalog::Lock lock(catalog_);
  if (auto refusal = catalog_.RefuseUnlessCurrent()) return *refusal;
  auto listing = ListNames(catalog_.catalog(), list);
  if (!listing) return place_.Failure(listing.error());
  return *listing ? Ok(std::move(**listing)) : NotFound(list.directory);
}

Tree& ReplicaReader::TreeAt(const CutName& cut, Catalog& catalog) {
  const auto now = CondVar::Clock::now();
  if (tree_ == nullptr || tree_cut_ != cut || tree_catalog_ != &catalog || now > tree_until_) {
    tree_until_ = now + kTreeKeptFor;
    tree_ = std::make_unique<Tree>(place_.root_fd(), place_.hold_fd(), catalog);
    tree_cut_ = cut;
    tree_catalog_ = &catalog;
  }
  return *tree_;
}

Reply ReplicaReader::ListDisk(const List& list, std::optional<RedoPause>& pause) {
  const auto answer = [&](Result<Listing> listing) {
    return listing ? Ok(std::move(*listing)) : place_.Failure(listing.error());
  };
  DiskListing listing(list, names_listed_);
  if (geteuid() != 0) {
    // Modes that deny something are changed meanwhile: by one request at a time.
    const KeptCatalog::Lock lock(catalog_);
    if (auto refusal = catalog_.RefuseUnlessCurrent()) return *refusal;
    Tree tree(place_.root_fd(), place_.hold_fd(), catalog_.catalog());
    const auto found = listing.Open(tree);
    if (!found) return place_.ReadFailure(found.error());
    if (!*found) return NotFound(list.directory);
    if (const auto read = listing.Read(); !read) return place_.ReadFailure(read.error());
    return answer(listing.Finish(catalog_.catalog()));
  }
  {
    const KeptCatalog::Lock lock(catalog_);
    if (auto refusal = catalog_.RefuseUnlessCurrent()) return *refusal;
    MutexLock tree_lock(tree_mutex_);
    const auto found = listing.Open(TreeAt(queue_.applied().name, catalog_.catalog()));
    if (!found) return place_.ReadFailure(found.error());
    if (!*found) return NotFound(list.directory);
  }
  Status read;
  if (list.live) {
    pause.reset();
    RunAtLowCpuPriority([&] { read = listing.Read(); });
  } else {
    read = listing.Read();
  }
  if (!read) return place_.ReadFailure(read.error());
  const KeptCatalog::Lock lock(catalog_);
  if (auto refusal = catalog_.RefuseUnlessCurrent()) return *refusal;
  return answer(listing.Finish(catalog_.catalog()));
}

Reply ReplicaReader::Take(const Find& find) {
  const RedoPause pause(queue_);
  if (pause.refusal()) return *pause.refusal();
  const KeptCatalog::Lock lock(catalog_);
  if (auto refusal = catalog_.RefuseUnlessCurrent()) return *refusal;
  Tree tree(place_.root_fd(), place_.hold_fd(), catalog_.catalog());
  auto found = FindObjects(catalog_.catalog(), tree, find);
  return found ? Ok(std::move(*found)) : place_.Failure(found.error());
}

// ---- Deltas ------------------------------------------------------------------------------------

std::optional<Reply> ReplicaReader::ResolveDeltas(std::vector<Record>& records) {
  uint64_t total = 0;
  uint64_t largest_basis = 0;  // one is read at a time
  for (const Record& record : records) {
    const auto* data = std::get_if<DataRecord>(&record);
    if (data == nullptr || data->encoding == Encoding::kHole) continue;
    total += data->length;
    largest_basis = std::max(largest_basis, data->basis_length);
    if (total > kMaxMessageBytes) {
      return Refuse(ReplyCode::kBadRequest, "the deltas of a chunk come to more than its limit");
    }
  }
  const auto memory = MemoryFor(total + largest_basis);
  const RedoPause pause(queue_);
  if (pause.refusal()) return pause.refusal();
  for (Record& record : records) {
    auto* data = std::get_if<DataRecord>(&record);
    if (data == nullptr) continue;
    if (data->encoding == Encoding::kDelta || data->encoding == Encoding::kCopy) {
      if (auto refusal = ResolveDelta(*data)) return refusal;
    }
  }
  return std::nullopt;
}

Result<std::string> ReplicaReader::Resolve(const DataRecord& record, int basis_fd) {
  auto basis = ReadUpTo(basis_fd, record.basis_offset, record.basis_length);
  if (!basis && IsErrorOfTheObject(basis.error(), place_.hold_fd())) return Changed();
  if (!basis) return basis;
  if (record.encoding == Encoding::kCopy) {
    ASSIGN_OR_RETURN(const std::string digest, ContentDigest(*basis));
    if (digest == record.bytes && basis->size() == record.length) return basis;
  } else {
    ASSIGN_OR_RETURN(std::string bytes, ApplyDelta(*basis, record.bytes, record.length));
    if (ChecksumOf(bytes) == record.checksum) return bytes;
  }
  return Changed();
}

std::optional<Reply> ReplicaReader::ResolveDelta(DataRecord& record) {
  UniqueFd fd;
  const auto refusal = OpenForReading(record.basis, fd);
  const bool has_none =
      refusal && (refusal->code == ReplyCode::kNotFound || refusal->code == ReplyCode::kUnreadable);
  if (refusal && !has_none) return *refusal;
  auto bytes = has_none ? Changed() : Resolve(record, fd.get());
  if (!bytes && bytes.error().kind() == ErrorKind::kCorrupt) {
    const UniqueFd kept = place_.kept().Find(record.basis);
    if (kept.valid()) bytes = Resolve(record, kept.get());
  }
  if (!bytes && bytes.error().kind() != ErrorKind::kCorrupt) return place_.Failure(bytes.error());
  if (!bytes) {
    return Refuse(ReplyCode::kBasisChanged,
                  "a delta does not fit object " + record.basis.ToHex() + "; send it literally");
  }
  record.encoding = Encoding::kLiteral;
  record.bytes = std::move(*bytes);
  record.basis = ObjectId();
  return std::nullopt;
}

}  // namespace tandem::replica
