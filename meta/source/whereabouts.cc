#include "meta/source/whereabouts.h"

#include <algorithm>
#include <utility>

namespace tandem::meta {
namespace {

// The maximum number of objects given a name during a search, which the search visits afterwards.
constexpr size_t kMaxNewlyNamed = size_t{1} << 17;
// The maximum number of outdated rows to write again at a time. Further ones stay wrong in the
// database, and each costs a search after a kill.
constexpr size_t kMaxOutdated = 4096;

}  // namespace

Whereabouts::Whereabouts(size_t max_objects)
    : max_in_shard_(std::max<size_t>(1, max_objects / kShards)) {}

Whereabouts::Known Whereabouts::Find(const ObjectId& object) {
  Shard& shard = ShardOf(object);
  MutexLock lock(shard.mutex);
  const auto found = shard.objects.find(object);
  if (found == shard.objects.end()) return {};
  found->second.used = true;
  return {found->second.names, found->second.nameless, found->second.version};
}

std::optional<EntryKey> Whereabouts::NameOf(const ObjectId& object) {
  Shard& shard = ShardOf(object);
  MutexLock lock(shard.mutex);
  const auto found = shard.objects.find(object);
  if (found == shard.objects.end() || found->second.names.empty()) return std::nullopt;
  found->second.used = true;
  return found->second.names.front();
}

Whereabouts::Entry& Whereabouts::EntryOf(Shard& shard, const ObjectId& object) {
  if (const auto found = shard.objects.find(object); found != shard.objects.end()) {
    return found->second;
  }
  if (shard.objects.size() >= max_in_shard_) ForgetOldest(shard);
  Entry& entry = shard.objects[object];
  entry.place = shard.order.insert(shard.order.end(), object);
  return entry;
}

void Whereabouts::ForgetOldest(Shard& shard) {
  while (true) {
    const auto oldest = shard.objects.find(shard.order.front());
    if (std::exchange(oldest->second.used, false)) {
      shard.order.splice(shard.order.end(), shard.order, shard.order.begin());
      continue;
    }
    if (!oldest->second.names.empty()) ++forgotten_;
    shard.order.pop_front();
    shard.objects.erase(oldest);
    return;
  }
}

void Whereabouts::AddName(const ObjectId& object, const ObjectId& parent, std::string_view name,
                          bool only_if_room) {
  bool outdated = false;
  {
    Shard& shard = ShardOf(object);
    MutexLock lock(shard.mutex);
    if (only_if_room && shard.objects.size() >= max_in_shard_ && !shard.objects.contains(object)) {
      return;
    }
    Entry& entry = EntryOf(shard, object);
    auto& names = entry.names;
    const bool is_known = !names.empty() && names.front().parent == parent &&
                          names.front().name == name && !entry.nameless;
    if (is_known) return;
    std::erase_if(
        names, [&](const EntryKey& known) { return known.parent == parent && known.name == name; });
    if (names.size() == kMaxNames) names.pop_back();
    names.insert(names.begin(), EntryKey{parent, std::string(name)});
    entry.nameless = false;
    entry.version = ++last_version_;
    outdated = std::exchange(entry.written, 0) == generation_;
  }
  if (!outdated) return;
  MutexLock lock(outdated_mutex_);
  if (outdated_.size() < kMaxOutdated) outdated_.push_back(object);
}

void Whereabouts::Note(const ObjectId& object, const ObjectId& parent, std::string_view name) {
  AddName(object, parent, name, /*only_if_room=*/false);
}

void Whereabouts::NoteIfRoom(const ObjectId& object, const ObjectId& parent,
                             std::string_view name) {
  AddName(object, parent, name, /*only_if_room=*/true);
}

void Whereabouts::NoteNameAdded(const ObjectId& object, const ObjectId& parent,
                                std::string_view name) {
  AddName(object, parent, name, /*only_if_room=*/false);
  if (!watching_) return;
  MutexLock lock(newly_named_mutex_);
  if (newly_named_.size() < kMaxNewlyNamed) {
    newly_named_.push_back(object);
  } else {
    newly_named_overflow_ = true;
  }
}

void Whereabouts::NoteNameRemoved(const ObjectId& object, const ObjectId& parent,
                                  std::string_view name, OtherNames others) {
  Shard& shard = ShardOf(object);
  MutexLock lock(shard.mutex);
  if (others == OtherNames::kMaybe && !shard.objects.contains(object)) return;
  Entry& entry = EntryOf(shard, object);
  std::erase_if(entry.names, [&](const EntryKey& known) {
    return known.parent == parent && known.name == name;
  });
  if (others == OtherNames::kNone && entry.names.empty()) entry.nameless = true;
  entry.version = ++last_version_;
}

void Whereabouts::NoteNameless(const ObjectId& object) {
  Shard& shard = ShardOf(object);
  MutexLock lock(shard.mutex);
  Entry& entry = EntryOf(shard, object);
  entry.names.clear();
  entry.nameless = true;
  entry.version = ++last_version_;
}

void Whereabouts::NoteNamelessUnlessChanged(const ObjectId& object, uint64_t version) {
  Shard& shard = ShardOf(object);
  MutexLock lock(shard.mutex);
  const auto found = shard.objects.find(object);
  if ((found == shard.objects.end() ? 0 : found->second.version) != version) return;
  Entry& entry = EntryOf(shard, object);
  entry.nameless = true;
  entry.version = ++last_version_;
}

void Whereabouts::StartWatching() {
  MutexLock lock(newly_named_mutex_);
  newly_named_.clear();
  newly_named_overflow_ = false;
  watching_ = true;
}

std::optional<std::vector<ObjectId>> Whereabouts::TakeNewlyNamed() {
  MutexLock lock(newly_named_mutex_);
  if (newly_named_overflow_) return std::nullopt;
  return std::exchange(newly_named_, {});
}

void Whereabouts::StopWatching() {
  MutexLock lock(newly_named_mutex_);
  watching_ = false;
  newly_named_.clear();
}

void Whereabouts::NoteFormer(const ObjectId& object, const ObjectId& parent,
                             std::string_view name) {
  if (Find(object).version == 0) NoteIfRoom(object, parent, name);
}

std::vector<Whereabouts::Row> Whereabouts::TakeUnwritten(const ObjectId& object) {
  std::vector<Row> rows;
  ObjectId at = object;
  for (size_t level = 0; level < kMaxDepth && at != kRootObject; ++level) {
    Shard& shard = ShardOf(at);
    MutexLock lock(shard.mutex);
    const auto found = shard.objects.find(at);
    if (found == shard.objects.end() || found->second.names.empty()) break;
    // If a row is written, the rows above it are written too, or are in `outdated_`.
    if (std::exchange(found->second.written, generation_) == generation_) break;
    rows.push_back({at, found->second.names.front()});
    at = found->second.names.front().parent;
  }
  return rows;
}

std::vector<Whereabouts::Row> Whereabouts::TakeOutdated() {
  std::vector<ObjectId> outdated;
  {
    MutexLock lock(outdated_mutex_);
    outdated.swap(outdated_);
  }
  std::vector<Row> rows;
  for (const ObjectId& object : outdated) {
    for (Row& row : TakeUnwritten(object)) rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace tandem::meta
