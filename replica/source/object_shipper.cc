#include "replica/source/object_shipper.h"

#include <xxhash.h>

#include <algorithm>

#include "meta/source/source_tree.h"
#include "replica/delta.h"
#include "replica/hash.h"
#include "replica/source/tuning.h"

namespace tandem::replica {

meta::ObjectChange EverythingUnreadable() {
  meta::ObjectChange everything;
  everything.AddWhole();
  everything.listing = true;  // it may be a directory
  return everything;
}

Status ObjectShipper::Expect(std::span<const ObjectId> objects) {
  return before_ ? before_->Expect(objects) : Status();
}

Result<std::optional<meta::Attributes>> ObjectShipper::Ship(const ObjectId& id,
                                                            meta::ObjectReader& object,
                                                            const meta::ObjectChange& change,
                                                            const Likeness& like) {
  ObjectRecord record;
  record.object = id;
  // All of its content travels: the replica may make it anew, and keep the old content for a while.
  const bool rewritten = change.rewritten && change.data.Contains(ByteRange::Whole());
  const bool renew = rewritten && renews_ && peer_.FindsContent();
  record.with_xattrs = change.whole || renew || (change.attributes & meta::kXattrAttributes) != 0;
  ASSIGN_OR_RETURN(auto read, ReadAttributes(object, {id, change.handle}, record.with_xattrs));
  if (!read) return std::nullopt;
  record.attributes = std::move(*read);
  const meta::Attributes attributes = record.attributes;
  const bool whole = change.whole || (renew && attributes.link_count == 1);
  record.whole = whole;
  if (rewritten) known_.BeginAnew(id);
  using Sent = StagedBefore::Sent;
  StagedBefore::Found before;
  if (before_) {
    ASSIGN_OR_RETURN(before, before_->Find(record));
  }
  if (before.sent == Sent::kSame) {
    record.again = true;
    record.whole = record.with_xattrs = false;
    record.attributes.xattrs.clear();
  }
  RETURN_IF_ERROR(stage_.Add(std::move(record)));
  ++progress_.objects;
  if (attributes.kind != meta::Kind::kFile || attributes.size > largest_file_) return attributes;

  const bool may_be_like = whole && !rewritten && like.replaced.is_null() && LooksForKnown();
  if (may_be_like && attributes.size >= kGuessFrom && like.find_by_name) {
    if (const ObjectId similar = like.find_by_name(); !similar.is_null()) {
      known_.Guess(id, 0, similar);
    }
  }
  const bool fresh = whole && attributes.size >= kFileOfItsOwnFrom;
  // Its bytes are overwritten in place there: in order, once the first are known to be there.
  if (fresh_.contains(id)) RETURN_IF_ERROR(stage_.Flush());
  if (fresh) fresh_.insert(id);
  const bool is_first =
      compare_ != Compare::kNot && staged_.insert(id).second && before.sent != Sent::kOlder;
  const bool staged = whole || !is_first;
  const Content content{{id, change.handle}, object, attributes.size, fresh, staged, whole};
  const ByteRange all{0, attributes.size};
  RangeSet data = change.data;
  RangeSet suspect = change.suspect;
  for (const ByteRange& range : data.ToVector()) suspect.Remove(range);
  for (const ByteRange& range : before.ranges) {
    data.Remove(range);
    suspect.Remove(range);
    progress_.content_bytes += range.length();
  }
  for (const ByteRange& range : data.Within(all)) {
    RETURN_IF_ERROR(ShipRange(content, range, like.replaced));
  }
  for (const ByteRange& range : suspect.Within(all)) {
    RETURN_IF_ERROR(ShipRange(content, range, id));
  }
  return attributes;
}

Result<std::optional<meta::Attributes>> ObjectShipper::ReadAttributes(
    const meta::ObjectReader& object, const meta::ObjectRef& ref, bool& with_xattrs) {
  auto all = object.ReadAttributes(with_xattrs ? meta::WithXattrs::kYes : meta::WithXattrs::kNo);
  if (all) return std::move(*all);
  if (!meta::IsUnreadable(all.error())) return tl::unexpected<Error>(std::move(all.error()));
  const std::string why = all.error().ToString();
  // Extended attributes may stand in a block of their own.
  if (std::exchange(with_xattrs, false)) {
    auto some = object.ReadAttributes(meta::WithXattrs::kNo);
    if (some) {
      meta::ObjectChange xattrs;
      xattrs.attributes = meta::kAllAttributes;
      NoteUnreadable(ref, xattrs, why);
      return std::move(*some);
    }
  }
  NoteUnreadable(ref, EverythingUnreadable(), why);
  return std::nullopt;
}

Status ObjectShipper::ShipRange(const Content& content, ByteRange range, ObjectId basis) {
  while (!range.empty()) {
    auto read = content.object.ReadLayout(range, kExtentsAtATime);
    if (!read && meta::IsForbidden(read.error())) {
      meta::ObjectChange change;
      change.data.Add(range);
      NoteUnreadable(content.file, change, read.error().ToString());
      return {};
    }
    // Reading shows which parts of it can be read.
    if (!read && meta::IsUnreadable(read.error())) read = meta::Layout{{range}, range.end};
    ASSIGN_OR_RETURN(const meta::Layout layout, std::move(read));
    uint64_t at = range.start;
    for (const ByteRange& part : layout.data) {
      RETURN_IF_ERROR(ShipHole(content, {at, part.start}));
      RETURN_IF_ERROR(ShipData(content, part, basis));
      at = part.end;
    }
    RETURN_IF_ERROR(ShipHole(content, {at, layout.end}));
    range.start = layout.end;
  }
  return {};
}

Status ObjectShipper::ShipHole(const Content& content, ByteRange range) {
  if (range.empty()) return {};
  DataRecord record;
  record.object = content.file.id;
  record.fresh = content.fresh;
  record.offset = range.start;
  record.length = range.length();
  record.encoding = Encoding::kHole;
  return stage_.Add(std::move(record));
}

// Each byte is read once: a frozen cut keeps it no longer than that.
Status ObjectShipper::ShipData(const Content& content, ByteRange range, ObjectId basis) {
  const bool compare =
      compare_ != Compare::kNot && !basis.is_null() && range.length() >= kCompareFrom;
  const bool skip_same =
      compare && basis == content.file.id && !content.staged && range.start % kCompareBlock == 0;
  const bool may_be_known =
      LooksForKnown() && basis != content.file.id && range.length() >= kKnownFrom;
  if (may_be_known && !basis.is_null()) known_.Expect(content.file.id, range.start, basis);
  const bool small = LooksForKnown() && range == ByteRange{0, content.size} && !may_be_known &&
                     basis != content.file.id && range.length() >= kLeastSmallFile;
  // A database that is compacted moves its records within the file.
  if (may_be_known && !content.whole) known_.Guess(content.file.id, range.start, content.file.id);
  while (!range.empty()) {
    const uint64_t step = compare || may_be_known ? stage_.most_compared() : stage_.most_content();
    const ByteRange piece{range.start, std::min(range.end, range.start + step)};
    std::string bytes(piece.length(), '\0');
    auto read = content.object.Read(piece.start, bytes);
    if (!read && meta::IsUnreadable(read.error())) {
      RETURN_IF_ERROR(ShipReadable(content, piece, read.error()));
      range.start = piece.end;
      continue;
    }
    ASSIGN_OR_RETURN(const size_t filled, std::move(read));
    bytes.resize(filled);
    // Shorter than it was a moment ago: the truncation travels with the next cut.
    if (filled == 0) return {};
    std::optional<KnownContent::Part> copy;
    if (small && bytes.size() == content.size) {
      ASSIGN_OR_RETURN(copy, known_.ExplainSmall(content.file.id, bytes));
    }
    if (copy) {
      RETURN_IF_ERROR(ShipCopy(content, piece.start, *std::move(copy)));
    } else if (may_be_known) {
      RETURN_IF_ERROR(ShipKnown(content, piece.start, bytes));
    } else if (skip_same) {
      ASSIGN_OR_RETURN(const auto differing, FindDiffering(content, piece.start, bytes));
      for (const ByteRange& part : differing) {
        RETURN_IF_ERROR(ShipPiece(content, part.start,
                                  bytes.substr(part.start - piece.start, part.length()), basis));
      }
    } else {
      RETURN_IF_ERROR(
          ShipPiece(content, piece.start, std::move(bytes), compare ? basis : ObjectId()));
    }
    progress_.content_bytes += piece.length();
    range.start = piece.end;
  }
  return {};
}

Status ObjectShipper::ShipPiece(const Content& content, uint64_t offset, std::string bytes,
                                ObjectId basis) {
  if (compare_ == Compare::kAll && !basis.is_null() && bytes.size() >= kCompareFrom) {
    const uint64_t slack = basis == content.file.id ? 0 : kBasisSlack;
    const ContentPlace place = ContentPlace{basis, offset, bytes.size()}.With(slack);
    ASSIGN_OR_RETURN(const uint64_t saved, ShipDelta(content, offset, bytes, place));
    if (saved > 0) return {};
  }
  return ShipLiteral(content, offset, std::move(bytes));
}

Status ObjectShipper::ShipCopy(const Content& content, uint64_t offset, KnownContent::Part part) {
  DataRecord record;
  record.object = content.file.id;
  record.fresh = content.fresh;
  record.offset = offset;
  record.length = part.length;
  record.encoding = Encoding::kCopy;
  record.bytes = std::move(part.digest);
  record.basis = part.place.object;
  record.basis_offset = part.place.offset;
  record.basis_length = part.length;
  return stage_.Add(std::move(record));
}

Status ObjectShipper::ShipKnown(const Content& content, uint64_t offset, std::string_view bytes) {
  using How = KnownContent::Part::How;
  ASSIGN_OR_RETURN(auto parts, known_.Explain(peer_, content.file.id, offset, bytes));
  for (KnownContent::Part& part : parts) {
    const uint64_t at = offset + part.offset;
    const std::string_view piece = bytes.substr(part.offset, part.length);
    uint64_t saved = 0;
    switch (part.how) {
      case How::kCopy:
        RETURN_IF_ERROR(ShipCopy(content, at, std::move(part)));
        continue;
      case How::kDelta: {
        ASSIGN_OR_RETURN(saved, ShipDelta(content, at, piece, part.place));
        if (part.whole) known_.NoteTried(content.file.id, saved, signature_bytes_);
        break;
      }
      case How::kNew:
        break;
    }
    if (saved == 0) RETURN_IF_ERROR(ShipLiteral(content, at, std::string(piece)));
  }
  return {};
}

Result<std::vector<ByteRange>> ObjectShipper::FindDiffering(const Content& content, uint64_t offset,
                                                            std::string_view bytes) {
  const ByteRange window{offset, offset + bytes.size()};
  GetDigests ask;
  ask.object = content.file.id;
  ask.offset = window.start;
  ask.length = window.length();
  ask.digests.block_size = kCompareBlock;
  ASSIGN_OR_RETURN(Peer::Pending answer, peer_.Send(ask));
  ASSIGN_OR_RETURN(const std::string ours,
                   DigestBytes(bytes, kCompareBlock, ask.digests.algorithm));
  ASSIGN_OR_RETURN(const Reply reply, answer.Wait());
  const bool has_it = reply.code != ReplyCode::kNotFound && reply.code != ReplyCode::kUnreadable;
  if (!has_it) return std::vector{window};
  RETURN_IF_ERROR(Peer::ToStatus(reply));
  const auto* theirs = std::get_if<Digests>(&reply.body);
  if (theirs == nullptr) return MakeError(ErrorKind::kProtocol, "digests: answer of another kind");
  return DifferingBlocks(ours, theirs->digests, DigestSize(ask.digests.algorithm), window,
                         kCompareBlock);
}

Status ObjectShipper::ShipReadable(const Content& content, ByteRange range, const Error& error) {
  const auto note = [&](ByteRange part) {
    meta::ObjectChange change;
    change.data.Add(part);
    NoteUnreadable(content.file, change, error.ToString());
  };
  int in_vain = 0;
  while (!range.empty() && in_vain < kMaxBadBlocksInARow) {
    const ByteRange block{range.start, std::min(range.end, range.start + kCompareBlock)};
    std::string bytes(block.length(), '\0');
    auto read = content.object.Read(block.start, bytes);
    if (read) {
      bytes.resize(*read);
      if (bytes.empty()) return {};
      RETURN_IF_ERROR(ShipLiteral(content, block.start, std::move(bytes)));
      in_vain = 0;
    } else if (meta::IsUnreadable(read.error())) {
      note(block);
      ++in_vain;
    } else {
      return tl::unexpected<Error>(std::move(read.error()));
    }
    range.start = block.end;
  }
  if (!range.empty()) note(range);
  return {};
}

void ObjectShipper::NoteUnreadable(const meta::ObjectRef& object, const meta::ObjectChange& change,
                                   const std::string& why) {
  const bool same = !unreadable_.empty() && unreadable_.back().object.id == object.id;
  if (!same) unreadable_.push_back({object, {}, why});
  // As it is tried again: as ranges, a listing and attributes.
  meta::ObjectChange again = change;
  for (const ByteRange& range : again.suspect.ToVector()) again.data.Add(range);
  again.suspect = RangeSet();
  again.listing |= !again.entries.empty();
  again.entries.clear();
  unreadable_.back().change.MergeNewer(again);
}

Status ObjectShipper::ShipLiteral(const Content& content, uint64_t offset, std::string bytes) {
  const auto add = [&](uint64_t at, std::string part) {
    DataRecord record;
    record.object = content.file.id;
    record.fresh = content.fresh;
    record.offset = at;
    record.length = part.size();
    record.bytes = std::move(part);
    return stage_.Add(std::move(record));
  };
  const size_t step = stage_.most_content();
  if (bytes.size() <= step) return add(offset, std::move(bytes));
  for (size_t at = 0; at < bytes.size(); at += step) {
    RETURN_IF_ERROR(add(offset + at, bytes.substr(at, step)));
  }
  return {};
}

Result<uint64_t> ObjectShipper::ShipDelta(const Content& content, uint64_t offset,
                                          std::string_view bytes, const ContentPlace& basis) {
  if (basis.offset >= ByteRange::kEndOfFile) return 0;
  signature_bytes_ = 0;
  const GetSignature ask{basis.object, basis.offset,
                         std::min(basis.length, ByteRange::kEndOfFile - basis.offset)};
  ASSIGN_OR_RETURN(Reply reply, peer_.Ask(ask));
  if (reply.code == ReplyCode::kNotFound || reply.code == ReplyCode::kUnreadable) return 0;
  RETURN_IF_ERROR(Peer::ToStatus(reply));
  const auto* signature = std::get_if<Signature>(&reply.body);
  if (signature == nullptr || signature->file_size <= ask.offset || signature->bytes.empty()) {
    return 0;
  }
  signature_bytes_ = signature->bytes.size();
  const uint64_t basis_bytes = std::min(ask.length, signature->file_size - ask.offset);
  if (!IsSignatureOf(basis_bytes, signature->bytes)) return 0;
  ASSIGN_OR_RETURN(std::string delta, MakeDelta(signature->bytes, bytes));
  if (delta.size() >= bytes.size()) return 0;
  const uint64_t saved = bytes.size() - delta.size();

  DataRecord record;
  record.object = content.file.id;
  record.fresh = content.fresh;
  record.offset = offset;
  record.length = bytes.size();
  record.encoding = Encoding::kDelta;
  record.bytes = std::move(delta);
  record.basis = basis.object;
  record.basis_offset = ask.offset;
  record.basis_length = basis_bytes;
  record.checksum = XXH3_64bits(bytes.data(), bytes.size());
  RETURN_IF_ERROR(stage_.Add(std::move(record)));
  return saved;
}

}  // namespace tandem::replica
