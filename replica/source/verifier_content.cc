// How the verifier compares content: by digests of blocks, several small files at a time.
#include <algorithm>

#include "replica/hash.h"
#include "replica/source/tuning.h"
#include "replica/source/verifier.h"

namespace tandem::replica {

Status Verifier::JudgeContents(Peer& peer, const Position& position) {
  std::vector<Asked> all;
  // A large window is judged alone: the replica reads all that it is asked about at the same time.
  bool alone = false;
  while (!items_.empty() && items_.front().what == Item::What::kContent && !alone &&
         all.size() < kContentsInFlight) {
    const Item item = std::move(items_.front());
    items_.pop_front();
    auto asked = AskAboutContent(peer, item);
    if (!asked) {
      RETURN_IF_ERROR(ReportIfUnreadable(item, tl::unexpected<Error>(asked.error())));
    } else if (*asked) {
      alone = (*asked)->window.length() > kSmallContent;
      all.push_back(std::move(**asked));
    }
  }
  for (Asked& asked : all)
    RETURN_IF_ERROR(ReportIfUnreadable(asked.item, JudgeContent(position, asked)));
  return {};
}

Result<std::optional<Verifier::Asked>> Verifier::AskAboutContent(Peer& peer, const Item& item) {
  tree_.NoteNameIfForgotten(item.object.id, item.parent.id, item.name);
  ASSIGN_OR_RETURN(std::optional<meta::SourceObject> object, tree_.Open(item.object));
  if (!object) return std::nullopt;
  ASSIGN_OR_RETURN(const meta::Attributes attributes,
                   object->ReadAttributes(meta::WithXattrs::kNo));
  const ByteRange window{item.offset, std::min(attributes.size, item.offset + kVerifyWindow)};
  // Removed since it was met, but in use: the replica may have removed it.
  if (window.empty() || attributes.link_count == 0) return std::nullopt;
  GetDigests ask;
  ask.object = item.object.id;
  ask.offset = window.start;
  ask.length = window.length();
  ask.block_size = options_.block_size;
  ask.algorithm = options_.algorithm;
  ask.drop_cache = options_.full;
  ASSIGN_OR_RETURN(Peer::Pending answer, peer.Send(ask));
  return Asked{item, std::move(*object), window, attributes.size, std::move(answer)};
}

Status Verifier::JudgeContent(const Position& position, Asked& asked) {
  const Item& item = asked.item;
  const ByteRange window = asked.window;
  ASSIGN_OR_RETURN(const Comparison comparison, Compare(asked));
  bool postponed = false;
  for (const ByteRange& block : comparison.differing) {
    ASSIGN_OR_RETURN(const bool pending,
                     Pending(position, item.object.id, [&](const meta::ObjectChange& change) {
                       // Zeros up to where a write began behind the old end are in no range.
                       if (!comparison.same_size && !change.empty()) return true;
                       return change.data.Intersects(block) || change.suspect.Intersects(block) ||
                              change.whole;
                     }));
    if (pending) {
      if (!std::exchange(postponed, true)) Postpone(item);
      continue;
    }
    if (postponed) continue;
    Report(
        {"content", item.path,
         "bytes " + std::to_string(block.start) + " to " + std::to_string(block.end) + " differ"});
    RETURN_IF_ERROR(RepairObject(item.object, /*whole=*/false));
  }
  {
    MutexLock lock(mutex_);
    report_.bytes += window.length();
  }
  if (window.end < asked.size && !comparison.nothing_there) {
    Item next = item;
    next.offset = window.end;
    next.tries = 0;
    items_.push_front(std::move(next));
  }
  return {};
}

Result<Verifier::Comparison> Verifier::Compare(Asked& asked) {
  // Both sides read at the same time.
  const ByteRange window = asked.window;
  ASSIGN_OR_RETURN(const int fd, asked.object.ContentFd());
  ASSIGN_OR_RETURN(const Digests ours,
                   DigestBlocks(fd, window.start, window.length(), options_.block_size,
                                options_.algorithm, options_.full ? Cache::kDrop : Cache::kUse));
  ASSIGN_OR_RETURN(const Reply reply, asked.answer.Wait());
  RETURN_IF_ERROR(Peer::ToStatus(reply));
  const auto* theirs = std::get_if<Digests>(&reply.body);
  if (theirs == nullptr) return MakeError(ErrorKind::kProtocol, "digests: answer of another kind");

  Comparison comparison;
  comparison.same_size = ours.file_size == theirs->file_size;
  comparison.nothing_there = !comparison.same_size && theirs->file_size <= window.start;
  if (comparison.nothing_there) {
    // Everything else is reported at once.
    comparison.differing = {ByteRange{window.start, std::max(window.end, ours.file_size)}};
  } else {
    comparison.differing = DifferingBlocks(
        ours.digests, theirs->digests, DigestSize(options_.algorithm), window, options_.block_size);
  }
  return comparison;
}

}  // namespace tandem::replica
