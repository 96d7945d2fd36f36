// What a volume answers to requests that read: List, Find, GetSignature, GetDigests; and how deltas
// become bytes, which reads as well.
#include "replica/apply/file_data.h"
#include "replica/delta.h"
#include "replica/hash.h"
#include "replica/store/inspect.h"
#include "replica/store/volume.h"
#include "replica/store/volume_inspection.h"
#include "replica/wire/chunk_payload.h"

namespace tandem::replica {
namespace {

Reply NotFound(ObjectId object) {
  return {ReplyCode::kNotFound,
          "the replica has no object " + object.ToHex() + " of that kind",
          {},
          {}};
}

Reply Answer(ReplyBody body) { return {ReplyCode::kOk, "", {}, std::move(body)}; }

}  // namespace

// The caller holds an Inspection.
std::optional<Reply> Volume::OpenForReading(ObjectId object, UniqueFd& fd) {
  MutexLock lock(catalog_mutex_);
  if (auto refusal = CheckCatalog()) return *refusal;
  Tree tree(root_fd_.get(), hold_fd_.get(), *catalog_);
  auto opened = OpenFile(tree, object);
  if (!opened) return Failure(opened.error());
  if (!opened->valid()) return NotFound(object);
  fd = std::move(*opened);
  return std::nullopt;
}

Reply Volume::Take(const GetSignature& get) {
  const Inspection inspection(*this);
  if (inspection.refusal()) return *inspection.refusal();
  UniqueFd fd;
  if (auto refusal = OpenForReading(get.object, fd)) return *refusal;
  auto signature = SignatureOf(fd.get(), get);
  return signature ? Answer(std::move(*signature)) : Failure(signature.error());
}

Reply Volume::Take(const GetDigests& get) {
  const Inspection inspection(*this);
  if (inspection.refusal()) return *inspection.refusal();
  UniqueFd fd;
  if (auto refusal = OpenForReading(get.object, fd)) return *refusal;
  auto digests = DigestBlocks(fd.get(), get.offset, get.length, get.block_size, get.algorithm,
                              get.drop_cache ? Cache::kDrop : Cache::kUse);
  return digests ? Answer(std::move(*digests)) : Failure(digests.error());
}

Reply Volume::Take(const List& list) {
  const Inspection inspection(*this);
  if (inspection.refusal()) return *inspection.refusal();
  MutexLock lock(catalog_mutex_);
  if (auto refusal = CheckCatalog()) return *refusal;
  Tree tree(root_fd_.get(), hold_fd_.get(), *catalog_);
  auto listing = ListNames(*catalog_, tree, list);
  if (!listing) return Failure(listing.error());
  return *listing ? Answer(std::move(**listing)) : NotFound(list.directory);
}

Reply Volume::Take(const Find& find) {
  const Inspection inspection(*this);
  if (inspection.refusal()) return *inspection.refusal();
  MutexLock lock(catalog_mutex_);
  if (auto refusal = CheckCatalog()) return *refusal;
  Tree tree(root_fd_.get(), hold_fd_.get(), *catalog_);
  auto found = FindObjects(*catalog_, tree, find);
  return found ? Answer(std::move(*found)) : Failure(found.error());
}

// ---- Deltas ------------------------------------------------------------------------------------

std::optional<Reply> Volume::ResolveDeltas(std::vector<Record>& records) {
  uint64_t total = 0;
  for (const Record& record : records) {
    const auto* data = std::get_if<DataRecord>(&record);
    if (data == nullptr || data->encoding == Encoding::kHole) continue;
    total += data->length;
    if (total > kMaxMessageBytes) {
      return Reply{
          ReplyCode::kBadRequest, "the deltas of a chunk come to more than its limit", {}, {}};
    }
  }
  const Inspection inspection(*this);
  if (inspection.refusal()) return inspection.refusal();
  for (Record& record : records) {
    auto* data = std::get_if<DataRecord>(&record);
    if (data == nullptr || data->encoding != Encoding::kDelta) continue;
    if (auto refusal = ResolveDelta(*data)) return refusal;
  }
  return std::nullopt;
}

std::optional<Reply> Volume::ResolveDelta(DataRecord& record) {
  const Reply changed{ReplyCode::kBasisChanged,
                      "a delta does not fit object " + record.basis.ToHex() + "; send it literally",
                      {},
                      {}};
  UniqueFd fd;
  if (auto refusal = OpenForReading(record.basis, fd)) {
    if (refusal->code == ReplyCode::kNotFound) return changed;
    return std::move(*refusal);
  }
  const auto basis = ReadUpTo(fd.get(), record.basis_offset, record.basis_length);
  if (!basis) return Failure(basis.error());
  auto bytes = ApplyDelta(*basis, record.bytes, record.length);
  if (!bytes && bytes.error().kind() != ErrorKind::kCorrupt) return Failure(bytes.error());
  if (!bytes || ChecksumOf(*bytes) != record.checksum) return changed;
  record.encoding = Encoding::kLiteral;
  record.bytes = std::move(*bytes);
  record.basis = ObjectId();
  return std::nullopt;
}

}  // namespace tandem::replica
