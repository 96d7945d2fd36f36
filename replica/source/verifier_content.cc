// How the verifier judges content: by digests of blocks.
#include <algorithm>

#include "replica/hash.h"
#include "replica/source/tuning.h"
#include "replica/source/verifier.h"

namespace tandem::replica {

Status Verifier::JudgeContent(Peer& peer, const Position& position, const Item& item) {
  // Another item stands for all from there.
  if (item.nothing_from != nullptr && item.offset > *item.nothing_from) return {};
  ASSIGN_OR_RETURN(std::optional<meta::SourceObject> object, tree_.Open(item.object));
  if (!object) return {};
  ASSIGN_OR_RETURN(const meta::Attributes attributes,
                   object->ReadAttributes(meta::WithXattrs::kNo));
  const ByteRange window{item.offset, std::min(attributes.size, item.end)};
  // Removed since it was met, but in use: the replica may have removed it.
  if (window.empty() || attributes.link_count == 0) return {};
  ASSIGN_OR_RETURN(const int fd, object->ContentFd());
  ASSIGN_OR_RETURN(Comparison comparison, Compare(peer, item.object.id, fd, window, Digesting()));
  // The replica has more by now than when this item stood for all of the rest.
  const bool was_the_rest = item.nothing_from != nullptr && item.offset >= *item.nothing_from;
  if (comparison.nothing_there && !was_the_rest) comparison.differing = {window};
  const bool is_the_rest = was_the_rest && comparison.nothing_there;
  if (was_the_rest && !is_the_rest) {
    Item rest = item;
    // The file may have grown since its size was read, so its last block counts again.
    rest.offset = window.end / options_.block_size * options_.block_size;
    rest.end = 0;
    rest.nothing_from = nullptr;
    survey_.Add(std::move(rest));
  }
  if (comparison.differing.empty()) {
    tally_.AddBytes(window.length());
    return {};
  }
  for (const ByteRange& block : comparison.differing) {
    ASSIGN_OR_RETURN(const bool pending,
                     Pending(position, item.object.id, [&](const meta::ObjectChange& change) {
                       if (!comparison.same_size && !change.empty()) return true;
                       return change.data.Intersects(block) || change.suspect.Intersects(block) ||
                              change.whole;
                     }));
    if (pending) {
      Item again = item;
      if (!is_the_rest) again.nothing_from = nullptr;
      Postpone(std::move(again));
      return {};
    }
  }
  std::vector<ByteRange> holes;
  bool kept = false;
  if (options_.allocation) {
    // What is equal when holes are read as zeros differs in its allocation.
    DigestOptions digests = Digesting();
    digests.mark_holes = false;
    ASSIGN_OR_RETURN(const Comparison content, Compare(peer, item.object.id, fd, window, digests));
    RangeSet blocks;
    for (const ByteRange& block : comparison.differing) blocks.Add(block);
    for (const ByteRange& block : content.differing) blocks.Remove(block);
    holes = blocks.ToVector();
    for (const ByteRange& block : holes) {
      kept |= Report(position, "allocation", item.path,
                     "bytes " + std::to_string(block.start) + " to " + std::to_string(block.end) +
                         " are a hole on one side, and written zeros on the other");
    }
    kept |= ReportContent(position, item, content);
  } else {
    kept = ReportContent(position, item, comparison);
  }
  Item again = item;
  if (comparison.differing.back().end > item.end) again.end = 0;
  ConfirmLater(again, kept);
  if (options_.repair && !confirming_) {
    wrong_objects_.push_back({item.object, !holes.empty(), comparison.differing});
  }
  tally_.AddBytes(window.length());
  return {};
}

bool Verifier::ReportContent(const Position& position, const Item& item,
                             const Comparison& comparison) {
  const std::string how =
      comparison.unreadable.empty() ? "differ" : "cannot be read: " + comparison.unreadable;
  bool kept = false;
  for (const ByteRange& block : comparison.differing) {
    kept |= Report(
        position, "content", item.path,
        "bytes " + std::to_string(block.start) + " to " + std::to_string(block.end) + " " + how);
  }
  return kept;
}

Result<Verifier::Comparison> Verifier::Compare(Peer& peer, const ObjectId& object, int fd,
                                               ByteRange window, const DigestOptions& digests) {
  // Both sides read at the same time.
  ASSIGN_OR_RETURN(Peer::Pending answer,
                   peer.Send(GetDigests{object, window.start, window.length(), digests}));
  ASSIGN_OR_RETURN(const Digests ours, DigestBlocks(fd, window.start, window.length(), digests));
  ASSIGN_OR_RETURN(const Reply reply, answer.Wait());
  Comparison comparison;
  if (reply.code == ReplyCode::kNotFound) {
    comparison.same_size = false;
    comparison.nothing_there = true;
    comparison.differing = {window};
    return comparison;
  }
  if (reply.code == ReplyCode::kUnreadable) {
    comparison.differing = {window};
    comparison.unreadable = reply.message;
    return comparison;
  }
  RETURN_IF_ERROR(Peer::ToStatus(reply));
  const auto* theirs = std::get_if<Digests>(&reply.body);
  if (theirs == nullptr) return MakeError(ErrorKind::kProtocol, "digests: answer of another kind");
  comparison.same_size = ours.file_size == theirs->file_size;
  comparison.nothing_there = !comparison.same_size && theirs->file_size <= window.start;
  if (comparison.nothing_there) {
    // Everything else is reported at once.
    comparison.differing = {ByteRange{window.start, std::max(window.end, ours.file_size)}};
  } else {
    comparison.differing = DifferingBlocks(
        ours.digests, theirs->digests, DigestSize(digests.algorithm), window, digests.block_size);
  }
  return comparison;
}

}  // namespace tandem::replica
