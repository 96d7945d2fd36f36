#include "replica/apply/block_digests.h"

#include <algorithm>
#include <span>

#include "replica/apply/tuning.h"
#include "replica/wire/chunk_payload.h"
#include "replica/wire/little_endian.h"

namespace tandem::replica {
namespace {

// The run of a row that says that blocks without a digest are unknown.
constexpr int64_t kRestUnknown = -1;
constexpr int64_t kNoRun = std::numeric_limits<int64_t>::max();

constexpr char kFind[] = "SELECT run, digests FROM digest WHERE object = ? AND run IN (-1, ?)";
constexpr char kNext[] = "SELECT run FROM digest WHERE object = ? AND run >= ? LIMIT 1";
constexpr char kPut[] = "INSERT OR REPLACE INTO digest VALUES (?, ?, ?)";
constexpr char kRemove[] = "DELETE FROM digest WHERE object = ? AND run = ?";
constexpr char kRemoveRange[] = "DELETE FROM digest WHERE object = ? AND run >= ? AND run < ?";
constexpr char kClear[] = "DELETE FROM digest WHERE object = ?";

constexpr char kRekey[] = "UPDATE OR REPLACE digest SET object = ?2 WHERE object = ?1";

int64_t Signed(uint64_t value) { return static_cast<int64_t>(value); }

std::string Pack(std::span<const uint64_t> digests) {
  Packer packer;
  for (const uint64_t digest : digests) packer.Number(digest);
  return packer.bytes();
}

std::vector<uint64_t> Unpack(std::string_view bytes) {
  std::vector<uint64_t> digests(bytes.size() / sizeof(uint64_t));
  Unpacker unpacker(bytes);
  for (uint64_t& digest : digests) digest = unpacker.Number();
  return digests;
}

}  // namespace

BlockDigests::Digest BlockDigests::Of(std::string_view content) {
  const uint64_t digest = ChecksumOf(content);
  return digest > kZeros ? digest : ~digest;
}

bool BlockDigests::Matches(Digest digest, std::string_view content) {
  if (digest == kUnknown) return false;
  if (digest == kZeros) return content.find_first_not_of('\0') == std::string_view::npos;
  return Of(content) == digest;
}

Result<BlockDigests> BlockDigests::Open(Database& database) {
  BlockDigests opened;
  const std::pair<Statement*, const char*> all[] = {
      {&opened.find_, kFind},     {&opened.next_, kNext},   {&opened.put_, kPut},
      {&opened.remove_, kRemove}, {&opened.clear_, kClear}, {&opened.remove_range_, kRemoveRange},
      {&opened.rekey_, kRekey},
  };
  for (const auto& [statement, sql] : all) {
    ASSIGN_OR_RETURN(*statement, database.Prepare(sql));
  }
  return opened;
}

// ---- Looking up --------------------------------------------------------------------------------

Status BlockDigests::Load(ObjectId object, uint64_t run) {
  if (row_.object == object && row_.run == run) return {};
  RETURN_IF_ERROR(Flush());
  Row row;
  row.object = object;
  row.run = run;
  find_.Bind(1, object).Bind(2, Signed(run));
  while (true) {
    ASSIGN_OR_RETURN(const bool found, find_.Step());
    if (!found) break;
    if (find_.Int(0) == kRestUnknown) {
      row.rest_unknown = true;
    } else {
      // A row of another length is damage, and says nothing that a scrub would not notice.
      row.digests = Unpack(find_.Bytes(1));
      row.digests.resize(std::min<size_t>(row.digests.size(), kRunBlocks));
      row.stored = true;
    }
  }
  row_ = std::move(row);
  return {};
}

Result<BlockDigests::Digest> BlockDigests::Find(ObjectId object, uint64_t block) {
  RETURN_IF_ERROR(Load(object, block / kRunBlocks));
  const size_t index = block % kRunBlocks;
  return index < row_.digests.size() ? row_.digests[index] : Rest();
}

Result<std::optional<uint64_t>> BlockDigests::NextRun(ObjectId object, uint64_t run) {
  RETURN_IF_ERROR(Flush());
  ASSIGN_OR_RETURN(const bool found, next_.Bind(1, object).Bind(2, Signed(run)).Step());
  if (!found) return std::nullopt;
  const auto next = static_cast<uint64_t>(next_.Int(0));
  next_.Reset();
  return next;
}

Result<bool> BlockDigests::IsRestUnknown(ObjectId object) {
  RETURN_IF_ERROR(Load(object, row_.object == object ? row_.run : 0));
  return row_.rest_unknown;
}

// ---- Changing ----------------------------------------------------------------------------------

Status BlockDigests::Add(ObjectId object, const std::vector<Digest>& digests) {
  const std::span<const Digest> all(digests);
  for (size_t first = 0; first < all.size(); first += kRunBlocks) {
    const auto run = all.subspan(first, std::min<size_t>(kRunBlocks, all.size() - first));
    RETURN_IF_ERROR(
        put_.Bind(1, object).Bind(2, Signed(first / kRunBlocks)).BindBlob(3, Pack(run)).Run());
  }
  return {};
}

Status BlockDigests::Set(ObjectId object, uint64_t block, Digest digest) {
  return SetInRun(object, block, block + 1, digest);
}

// All blocks are of one run.
Status BlockDigests::SetInRun(ObjectId object, uint64_t first, uint64_t end, Digest digest) {
  RETURN_IF_ERROR(Load(object, first / kRunBlocks));
  const size_t index = first % kRunBlocks;
  const size_t stop = index + (end - first);
  if (row_.digests.size() < stop) row_.digests.resize(stop, Rest());
  std::fill(row_.digests.begin() + static_cast<ptrdiff_t>(index),
            row_.digests.begin() + static_cast<ptrdiff_t>(stop), digest);
  while (!row_.digests.empty() && row_.digests.back() == Rest()) row_.digests.pop_back();
  row_.changed = true;
  return {};
}

Status BlockDigests::SetRange(ObjectId object, uint64_t first, uint64_t end, Digest digest) {
  if (first >= end) return {};
  const uint64_t first_whole = (first + kRunBlocks - 1) / kRunBlocks;
  const uint64_t end_whole = end / kRunBlocks;
  if (first_whole >= end_whole) {
    while (first < end) {  // in two runs at most
      const uint64_t stop = std::min(end, (first / kRunBlocks + 1) * kRunBlocks);
      RETURN_IF_ERROR(SetInRun(object, first, stop, digest));
      first = stop;
    }
    return {};
  }
  ASSIGN_OR_RETURN(const bool rest_unknown, IsRestUnknown(object));
  const Digest rest = rest_unknown ? kUnknown : kZeros;
  const bool too_many = end_whole - first_whole > kMaxDigestRows;
  if (digest != rest && too_many && digest == kUnknown) return MakeUnknown(object);
  RETURN_IF_ERROR(SetRange(object, first, first_whole * kRunBlocks, digest));
  RETURN_IF_ERROR(SetRange(object, end_whole * kRunBlocks, end, digest));
  RETURN_IF_ERROR(Flush());
  Drop();
  RETURN_IF_ERROR(
      remove_range_.Bind(1, object).Bind(2, Signed(first_whole)).Bind(3, Signed(end_whole)).Run());
  // Zeros of a file whose rest is unknown become unknown if they are too many.
  if (digest == rest || too_many) return {};
  for (uint64_t run = first_whole; run < end_whole; ++run) {
    RETURN_IF_ERROR(SetInRun(object, run * kRunBlocks, (run + 1) * kRunBlocks, digest));
  }
  return {};
}

Status BlockDigests::CutAt(ObjectId object, uint64_t block) {
  const uint64_t run = block / kRunBlocks;
  const size_t left = block % kRunBlocks;
  if (left != 0) {
    RETURN_IF_ERROR(Load(object, run));
    if (row_.digests.size() > left) {
      row_.digests.resize(left);
      while (!row_.digests.empty() && row_.digests.back() == Rest()) row_.digests.pop_back();
      row_.changed = true;
    }
  }
  RETURN_IF_ERROR(Flush());
  Drop();
  return remove_range_.Bind(1, object)
      .Bind(2, Signed(left == 0 ? run : run + 1))
      .Bind(3, kNoRun)
      .Run();
}

Status BlockDigests::Clear(ObjectId object) {
  if (row_.object == object) Drop();
  return clear_.Bind(1, object).Run();
}

Status BlockDigests::MakeUnknown(ObjectId object) {
  RETURN_IF_ERROR(Clear(object));
  return put_.Bind(1, object).Bind(2, kRestUnknown).BindBlob(3, {}).Run();
}

Status BlockDigests::Rekey(ObjectId before, ObjectId after) {
  RETURN_IF_ERROR(Flush());
  Drop();
  return rekey_.Bind(1, before).Bind(2, after).Run();
}

Status BlockDigests::Flush() {
  if (!std::exchange(row_.changed, false)) return {};
  if (!row_.digests.empty()) {
    row_.stored = true;
    return put_.Bind(1, row_.object)
        .Bind(2, Signed(row_.run))
        .BindBlob(3, Pack(row_.digests))
        .Run();
  }
  if (!std::exchange(row_.stored, false)) return {};
  return remove_.Bind(1, row_.object).Bind(2, Signed(row_.run)).Run();
}

}  // namespace tandem::replica
