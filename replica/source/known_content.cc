#include "replica/source/known_content.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "replica/content_chunks.h"
#include "replica/source/tuning.h"

namespace tandem::replica {

void KnownContent::Forget() {
  trails_.clear();
  trail_order_.clear();
  likeness_.clear();
  likeness_order_.clear();
  BeginStage();
}

KnownContent::Trail& KnownContent::TrailOf(ObjectId object, uint64_t offset) {
  const auto [found, is_new] = trails_.try_emplace(object);
  if (is_new) {
    trail_order_.push_back(object);
    if (trail_order_.size() > kMostExpected) {
      trails_.erase(trail_order_.front());
      trail_order_.pop_front();
    }
  }
  Trail& trail = trails_.at(object);
  if (trail.offset != offset) {
    // Another part of the file: what stands beside is as likely as anything.
    const bool shifts = trail.basis_offset + offset < trail.offset;
    if (shifts) trail.basis = ObjectId();
    trail.basis_offset = trail.basis_offset + offset - trail.offset;
    trail.offset = offset;
  }
  return trail;
}

void KnownContent::Expect(ObjectId object, uint64_t offset, ObjectId basis) {
  if (trails_.contains(object)) return;
  Trail& trail = TrailOf(object, offset);
  trail.basis = basis;
  trail.basis_offset = offset;
}

void KnownContent::Guess(ObjectId object, uint64_t offset, ObjectId basis) {
  Trail& trail = TrailOf(object, offset);
  if (!trail.guess.is_null()) return;
  const auto like = likeness_.find(object);
  trail.guess = like == likeness_.end() ? basis : like->second;
}

void KnownContent::BeginAnew(ObjectId object) {
  Trail& trail = TrailOf(object, 0);
  trail = Trail();
  trail.basis = object;
}

Result<FoundContent> KnownContent::Ask(Peer& peer, const FindContent& find) {
  ASSIGN_OR_RETURN(FoundContent found, peer.AskFor<FoundContent>(find));
  if (found.digests.size() != find.ranges.size() * kCopyDigestBytes) {
    return MakeError(ErrorKind::kProtocol, "find content: not one digest for each range");
  }
  if (found.names.size() != find.files.size()) {
    return MakeError(ErrorKind::kProtocol, "find content: not one name for each file");
  }
  return found;
}

// ---- When it is not worth asking ---------------------------------------------------------------

// A question takes a round trip. Of small content as much could be sent meanwhile, and there may be
// thousands of small files, none of which is known.
bool KnownContent::IsSmall(Peer& peer, size_t bytes) {
  return bytes < (peer.pace().is_long_and_fast() ? kSmallOnALongWay : kSmallContent);
}

bool KnownContent::IsNotAsked(Peer& peer, Trail& trail, size_t bytes) {
  if (trail.unasked > 0) {
    trail.unasked -= std::min<uint64_t>(trail.unasked, bytes);
    return true;
  }
  // A file that grows slowly comes in small pieces, too.
  trail.small += bytes;
  if (!IsSmall(peer, trail.small) || small_unasked_ == 0) {
    trail.small = 0;
    return false;
  }
  --small_unasked_;
  return true;
}

void KnownContent::NoteInVain(Trail& trail, size_t bytes) {
  trail.unasked = std::max(kUnaskedFirst, trail.unasked_next);
  trail.unasked_next = std::min(2 * trail.unasked, kUnaskedMost);
  if (bytes >= kSmallOnALongWay) return;
  small_unasked_next_ = std::min(2 * std::max(small_unasked_next_, 1), kSmallUnaskedMost);
  small_unasked_ = small_unasked_next_;
}

void KnownContent::NoteTried(ObjectId object, uint64_t saved, uint64_t signature_bytes) {
  if (saved > signature_bytes) {
    signature_credit_ =
        std::min(signature_credit_ + saved / kSignatureShareOfSaved, kSignatureCredit);
    return;
  }
  signature_credit_ -= std::min(signature_credit_, signature_bytes);
  const auto known = trails_.find(object);
  if (known == trails_.end()) return;
  known->second.basis = ObjectId();
  known->second.guess = ObjectId();
  likeness_.erase(object);
  NoteInVain(known->second, kSmallOnALongWay);
}

std::optional<KnownContent::Part> KnownContent::TryGuess(Trail& trail, uint64_t offset,
                                                         size_t bytes) {
  signature_credit_ = std::min(signature_credit_ + bytes / kSignatureShare, kSignatureCredit);
  if (trail.guess.is_null() || bytes < kGuessFrom) return std::nullopt;
  // Content is more often removed before a place than added there.
  const uint64_t before = std::min<uint64_t>(offset, kGuessedBefore + bytes / 4);
  const uint64_t after = std::min<uint64_t>(kBasisSlack, 4 * bytes);
  const ContentPlace around{trail.guess, offset - before, before + bytes + after};
  if (around.length / kBytesInASignature > signature_credit_) return std::nullopt;
  return Part{Part::How::kDelta, 0, bytes, around, {}, /*whole=*/true};
}

// ---- Where it is expected ----------------------------------------------------------------------

Result<bool> KnownContent::IsExpected(Peer& peer, const ContentPlace& place,
                                      std::string_view digest, bool ahead) {
  const auto key = std::pair(place.object, place.offset);
  auto known = ahead_.find(key);
  if (known == ahead_.end() || known->second.first != place.length) {
    ahead_.clear();
    // What follows is asked for as well, in windows of the same size.
    FindContent find;
    const size_t count = ahead && place.length == kKnownWindow ? kWindowsAhead : 1;
    for (size_t i = 0; i < count; ++i) {
      const uint64_t offset = place.offset + i * place.length;
      if (offset > ByteRange::kEndOfFile - place.length) break;
      find.ranges.push_back({place.object, offset, place.length});
    }
    if (find.ranges.empty()) return false;
    ASSIGN_OR_RETURN(const FoundContent found, Ask(peer, find));
    for (size_t i = 0; i < find.ranges.size(); ++i) {
      ahead_[{find.ranges[i].object, find.ranges[i].offset}] = {
          find.ranges[i].length, found.digests.substr(i * kCopyDigestBytes, kCopyDigestBytes)};
    }
    known = ahead_.find(key);
  }
  const bool same = known->second.second == digest;
  ahead_.erase(known);
  return same;
}

// ---- Small files -------------------------------------------------------------------------------

void KnownContent::NoteLikeness(const SmallFiles& files) {
  for (const auto& [file, like] : files) {
    if (file == like || !likeness_.try_emplace(file, like).second) continue;
    likeness_order_.push_back(file);
    if (likeness_order_.size() <= kMostLikenesses) continue;
    likeness_.erase(likeness_order_.front());
    likeness_order_.pop_front();
  }
}

Status KnownContent::AskForSmall(Peer& peer, const SmallFiles& files) {
  NoteLikeness(files);
  small_asked_.clear();
  small_passed_by_ += files.size();
  if (small_passed_by_ < small_wait_for_ || files.empty()) return {};
  small_passed_by_ = 0;
  // If nothing was found lately, as many as tell whether it is worth more.
  const size_t asked =
      small_wait_for_ == 0 ? files.size() : std::min(files.size(), kManySmallFiles);
  // Until one of them is found.
  small_wait_for_ = std::min(2 * std::max(small_wait_for_, kFewSmallFiles), kManySmallFiles);
  for (size_t at = 0; at < asked; at += kMaxFindFiles) {
    const size_t count = std::min(asked - at, kMaxFindFiles);
    FindContent find;
    for (size_t i = 0; i < count; ++i) find.files.push_back(files[at + i].second);
    ASSIGN_OR_RETURN(const FoundContent found, Ask(peer, find));
    for (size_t i = 0; i < count; ++i) {
      if (found.names[i] == 0) continue;
      small_asked_[files[at + i].first] = {files[at + i].second, found.names[i]};
    }
  }
  return {};
}

Result<std::optional<KnownContent::Part>> KnownContent::ExplainSmall(ObjectId object,
                                                                     std::string_view content) {
  const auto asked = small_asked_.find(object);
  if (asked == small_asked_.end()) return std::nullopt;
  ASSIGN_OR_RETURN(std::string digest, ContentDigest(content));
  if (ChunkName(digest) != asked->second.second) return std::nullopt;
  small_wait_for_ = 0;
  return Part{Part::How::kCopy,
              0,
              content.size(),
              {asked->second.first, 0, content.size()},
              std::move(digest)};
}

// ---- Where it is found -------------------------------------------------------------------------

Result<std::vector<KnownContent::Run>> KnownContent::FindRuns(Peer& peer, std::string_view window) {
  ASSIGN_OR_RETURN(const std::vector<ContentChunk> chunks, CutContent(window));
  FindContent find;
  for (const ContentChunk& chunk : chunks) find.chunks.push_back(chunk.name);
  ASSIGN_OR_RETURN(const FoundContent found, Ask(peer, find));
  std::vector<Run> runs;
  for (const ContentRun& run : found.runs) {
    if (uint64_t{run.first} + run.count > chunks.size()) {
      return MakeError(ErrorKind::kProtocol, "find content: more chunks than were asked for");
    }
    if (run.offset > ByteRange::kEndOfFile - window.size()) {
      return MakeError(ErrorKind::kProtocol, "find content: a place beyond the end of any file");
    }
    const ContentChunk& first = chunks[run.first];
    const ContentChunk& last = chunks[run.first + run.count - 1];
    runs.push_back(
        {first.offset, last.offset + last.length - first.offset, run.object, run.offset});
  }
  return runs;
}

Status KnownContent::Extend(Peer& peer, std::string_view window, std::vector<Run>& runs) {
  FindContent find;
  std::vector<Run> wanted;
  const auto want = [&](const Run& beside, bool before, size_t offset, size_t length) {
    if (length == 0 || wanted.size() == kMaxFindRanges) return;
    if (before && beside.object_offset < length) return;
    const uint64_t place =
        before ? beside.object_offset - length : beside.object_offset + beside.length;
    if (place > ByteRange::kEndOfFile - length) return;
    find.ranges.push_back({beside.object, place, length});
    wanted.push_back({offset, length, beside.object, place});
  };
  for (size_t i = 0; i < runs.size(); ++i) {
    const size_t before = i == 0 ? 0 : runs[i - 1].offset + runs[i - 1].length;
    const size_t end = runs[i].offset + runs[i].length;
    const size_t after = i + 1 == runs.size() ? window.size() : runs[i + 1].offset;
    want(runs[i], true, before, runs[i].offset - before);
    want(runs[i], false, end, after - end);
  }
  if (wanted.empty()) return {};
  ASSIGN_OR_RETURN(const FoundContent found, Ask(peer, find));
  std::vector<Run> more;
  for (size_t i = 0; i < wanted.size(); ++i) {
    Run& part = wanted[i];
    // The run before may have taken the gap already.
    if (!more.empty() && more.back().offset == part.offset) continue;
    ASSIGN_OR_RETURN(part.digest, ContentDigest(window.substr(part.offset, part.length)));
    if (found.digests.compare(i * kCopyDigestBytes, kCopyDigestBytes, part.digest) != 0) continue;
    more.push_back(std::move(part));
  }
  // Each stays a part of its own: it may be in another version of the object.
  std::ranges::move(more, std::back_inserter(runs));
  std::ranges::sort(runs, {}, &Run::offset);
  return {};
}

Result<std::vector<KnownContent::Part>> KnownContent::PartsOf(std::string_view window,
                                                              std::vector<Run> runs) {
  using How = Part::How;
  std::vector<Part> parts;
  const auto fill = [&](size_t start, size_t end, const Run* before, const Run* after) {
    if (start == end) return;
    const size_t length = end - start;
    ContentPlace place;
    if (before != nullptr) {
      place.object = before->object;
      place.offset = before->object_offset + before->length;
      place.length = length + kGapSlack;
      // Between two places of one file is what was there before.
      if (after != nullptr && after->object == before->object &&
          after->object_offset > place.offset &&
          after->object_offset - place.offset <= 4 * length + kGapSlack) {
        place.length = after->object_offset - place.offset;
      }
    } else if (after != nullptr) {
      place.object = after->object;
      place.offset = after->object_offset - std::min(after->object_offset, length + kGapSlack);
      place.length = after->object_offset - place.offset;
    }
    const bool helps = length >= kGapFrom && place.length > 0 && place.length <= kMaxDeltaWindow;
    parts.push_back({helps ? How::kDelta : How::kNew, start, length, place, {}});
  };
  size_t at = 0;
  const Run* last = nullptr;
  for (Run& run : runs) {
    fill(at, run.offset, last, &run);
    if (run.digest.empty()) {
      ASSIGN_OR_RETURN(run.digest, ContentDigest(window.substr(run.offset, run.length)));
    }
    parts.push_back({How::kCopy,
                     run.offset,
                     run.length,
                     {run.object, run.object_offset, run.length},
                     std::move(run.digest)});
    at = run.offset + run.length;
    last = &run;
  }
  fill(at, window.size(), last, nullptr);
  return parts;
}

Result<std::vector<KnownContent::Part>> KnownContent::Explain(Peer& peer, ObjectId object,
                                                              uint64_t offset,
                                                              std::string_view window) {
  using How = Part::How;
  const std::vector<Part> unknown = {{How::kNew, 0, window.size()}};
  Trail& trail = TrailOf(object, offset);
  trail.offset = offset + window.size();
  const ContentPlace expected{trail.basis, trail.basis_offset, window.size()};
  trail.basis_offset += window.size();
  if (!expected.object.is_null()) {
    ASSIGN_OR_RETURN(std::string digest, ContentDigest(window));
    // If this question ends the session, the next is a small one.
    const bool ahead = std::exchange(trail.followed, false);
    ASSIGN_OR_RETURN(const bool same, IsExpected(peer, expected, digest, ahead));
    trail.followed = same;
    if (same) return std::vector<Part>{{How::kCopy, 0, window.size(), expected, std::move(digest)}};
  } else if (IsNotAsked(peer, trail, window.size())) {
    if (auto guess = TryGuess(trail, offset, window.size())) return std::vector{*std::move(guess)};
    return unknown;
  }
  ASSIGN_OR_RETURN(std::vector<Run> runs, FindRuns(peer, window));
  if (runs.empty()) {
    if (expected.object.is_null()) {
      if (auto guess = TryGuess(trail, offset, window.size()))
        return std::vector{*std::move(guess)};
      NoteInVain(trail, window.size());
      return unknown;
    }
    // What was written over may have much of it, in pieces too small to be found as chunks.
    const ContentPlace around = expected.With(kBasisSlack);
    return std::vector<Part>{{How::kDelta, 0, window.size(), around, {}, /*whole=*/true}};
  }
  small_unasked_ = small_unasked_next_ = 0;
  trail.unasked_next = 0;
  RETURN_IF_ERROR(Extend(peer, window, runs));
  const Run& last = runs.back();
  trail.basis = last.object;
  trail.basis_offset = last.object_offset + (window.size() - last.offset);
  return PartsOf(window, std::move(runs));
}

}  // namespace tandem::replica
