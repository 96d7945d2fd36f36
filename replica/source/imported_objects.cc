#include "replica/source/imported_objects.h"

#include <algorithm>
#include <array>
#include <unordered_map>
#include <unordered_set>

#include "replica/source/walker.h"
#include "replica/wire/imported.h"

namespace tandem::replica {
namespace {

// Steps that filesystems and programs cut times to, in nanoseconds.
constexpr std::array<uint32_t, 5> kClockSteps = {1, 100, 1'000, 1'000'000, 1'000'000'000};

bool IsCopyOf(const meta::Timestamp& ours, const meta::Timestamp& theirs) {
  if (ours.seconds != theirs.seconds) return false;
  return std::ranges::any_of(kClockSteps, [&](uint32_t step) {
    return theirs.nanoseconds == ours.nanoseconds - ours.nanoseconds % step;
  });
}

bool IsDevice(meta::Kind kind) {
  return kind == meta::Kind::kCharDevice || kind == meta::Kind::kBlockDevice;
}

}  // namespace

bool HasContentOf(const meta::Attributes& ours, const Listed& theirs) {
  const meta::Attributes& there = theirs.attributes;
  return IsTakenAsItIs(there, theirs.changed) && ours.kind == there.kind &&
         ours.size == there.size && IsCopyOf(ours.modify_time, there.modify_time);
}

bool CanBecome(const meta::Attributes& ours, const Listed& theirs) {
  const meta::Attributes& there = theirs.attributes;
  return IsPlaceholder(there, theirs.changed) && ours.kind == there.kind && !IsDevice(ours.kind) &&
         ours.link_target == there.link_target;
}

Status Walker::RekeyImported(const Task& task, const meta::SourceObject& directory,
                             const meta::SourceListing& ours, std::vector<Listed>& theirs) {
  std::unordered_map<std::string_view, ObjectId> there;
  for (const Listed& listed : theirs) there.emplace(listed.name, listed.object);
  std::vector<const meta::SourceEntry*> entries;
  std::vector<ObjectId> before;
  for (const meta::SourceEntry& entry : ours.entries) {
    const auto same = there.find(entry.name);
    if (same == there.end() || same->second == entry.object.id) continue;
    entries.push_back(&entry);
    before.push_back(same->second);
  }
  ASSIGN_OR_RETURN(const std::vector<Listed> known, FindOnReplica(before));
  std::vector<ObjectId> ids;
  for (const meta::SourceEntry* entry : entries) ids.push_back(entry->object.id);
  ASSIGN_OR_RETURN(const std::vector<Listed> taken, FindOnReplica(ids));
  // Of several names of one object there or here, the first counts.
  std::unordered_set<ObjectId> paired;
  std::vector<Rekey::Pair> pairs;
  std::vector<ObjectId> after;
  for (size_t i = 0; i < entries.size(); ++i) {
    if (!keep_going_()) return MakeError(ErrorKind::kCancelled, "walk the source: stopping");
    if (known[i].object.is_null() || !IsPlaceholder(known[i].attributes, known[i].changed))
      continue;
    const ObjectId& id = ids[i];
    if (!taken[i].object.is_null()) continue;
    if (paired.contains(before[i]) || paired.contains(id)) continue;
    const auto opened = tree_.OpenListed(directory, task.directory.id, *entries[i]);
    if (!opened || !*opened) continue;
    const auto attributes = (*opened)->ReadAttributes(meta::WithXattrs::kNo);
    if (!attributes || !CanBecome(*attributes, known[i])) continue;
    paired.insert({before[i], id});
    pairs.push_back({before[i], id});
    after.push_back(id);
  }
  for (size_t at = 0; at < pairs.size(); at += kMaxFindObjects) {
    const auto first = pairs.begin() + static_cast<ptrdiff_t>(at);
    const auto last =
        pairs.begin() + static_cast<ptrdiff_t>(std::min(pairs.size(), at + kMaxFindObjects));
    ASSIGN_OR_RETURN(const Reply reply, peer_.Ask(Rekey{{first, last}}));
    RETURN_IF_ERROR(Peer::ToStatus(reply));
  }
  // The replica has left out what does not fit.
  ASSIGN_OR_RETURN(const std::vector<Listed> now, FindOnReplica(after));
  std::unordered_map<ObjectId, ObjectId> rekeyed;
  for (size_t i = 0; i < pairs.size(); ++i) {
    if (!now[i].object.is_null()) rekeyed.emplace(pairs[i].before, pairs[i].after);
  }
  for (Listed& listed : theirs) {
    const auto done = rekeyed.find(listed.object);
    if (done != rekeyed.end()) listed.object = done->second;
  }
  return {};
}

}  // namespace tandem::replica
