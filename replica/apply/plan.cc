#include "replica/apply/plan.h"

#include <algorithm>
#include <limits>

#include "replica/apply/kept_bases.h"

namespace tandem::replica {
namespace {

tl::unexpected<Error> Contradiction(const std::string& what, ObjectId object) {
  return MakeError(ErrorKind::kProtocol,
                   "the change set has " + what + ": object " + object.ToHex(), EBADMSG);
}

using NamedChild = std::pair<ObjectId, const EntryKey*>;

bool ByChild(const NamedChild& a, const NamedChild& b) { return a.first < b.first; }

}  // namespace

Result<std::unique_ptr<Plan>> Plan::Make(const std::vector<std::shared_ptr<Stage>>& stages,
                                         Catalog& catalog, uint64_t largest_file) {
  std::unique_ptr<Plan> plan(new Plan(stages, catalog, largest_file));
  RETURN_IF_ERROR(plan->CollectAll());
  RETURN_IF_ERROR(plan->ResolveEntries());
  if (!plan->missing_.empty()) {
    std::ranges::sort(plan->missing_);
    plan->missing_.erase(std::unique(plan->missing_.begin(), plan->missing_.end()),
                         plan->missing_.end());
    return plan;
  }
  RETURN_IF_ERROR(plan->CheckDirectories());
  RETURN_IF_ERROR(plan->DecideFates());
  RETURN_IF_ERROR(plan->FindDead());
  return plan;
}

// ---- Collecting --------------------------------------------------------------------------------

Status Plan::CollectAll() {
  ASSIGN_OR_RETURN(const bool none_is_short, catalog_.short_objects().IsEmpty());
  some_are_short_ = !none_is_short;
  uint64_t position = 1;
  for (const auto& stage : stages_) RETURN_IF_ERROR(Collect(*stage, position));
  children_.reserve(entries_.size());
  for (const auto& [key, child] : entries_) {
    if (!child.is_null()) children_.emplace_back(child, &key);
  }
  std::ranges::sort(children_, ByChild);
  return {};
}

std::unordered_set<ObjectId> Plan::NamedAgain(std::span<const Outline* const> attempt) {
  std::unordered_set<ObjectId> objects;
  for (const Outline* outline : attempt) {
    for (const Outline::Object& record : outline->objects) {
      if (record.again) objects.insert(record.object);
    }
  }
  return objects;
}

void Plan::NoteBrokenOff(const Stage& stage, uint64_t first) {
  const std::vector<uint64_t> attempts = stage.resumed_at();
  if (attempts.empty()) return;
  const std::vector<const Outline*> outlines = stage.Outlines();
  const std::span<const Outline* const> all(outlines);
  BrokenOff broken_off;
  broken_off.first = broken_off.end = first;
  size_t from = 0;
  for (size_t i = 0; i < attempts.size(); ++i) {
    for (; from < attempts[i]; ++from) broken_off.end += all[from]->record_count;
    const size_t end = i + 1 < attempts.size() ? attempts[i + 1] : all.size();
    const auto attempt = all.subspan(from, end - from);
    broken_off.named_again = NamedAgain(attempt);
    for (const Outline* outline : attempt) {
      for (const Outline::Object& record : outline->objects) {
        if (broken_off.named_again.contains(record.object)) continue;
        broken_off.sent_anew[record.object] = broken_off.end;
      }
    }
  }
  broken_off_.push_back(std::move(broken_off));
}

bool Plan::IsVoid(ObjectId object, uint64_t position) const {
  return std::ranges::any_of(broken_off_, [&](const BrokenOff& part) {
    if (position < part.first || position >= part.end) return false;
    if (!part.named_again.contains(object)) return true;
    const auto anew = part.sent_anew.find(object);
    return anew != part.sent_anew.end() && position < anew->second;
  });
}

const Stage* Plan::StageAt(uint64_t position) const {
  const auto after = std::ranges::upper_bound(stage_starts_, position);
  return stages_[static_cast<size_t>(after - stage_starts_.begin()) - 1].get();
}

bool Plan::IsAllInAFile(ObjectId object, const Object& planned) const {
  if (planned.kind != meta::Kind::kFile || planned.whole == 0) return false;
  const auto file = staged_files_.find(object);
  return file != staged_files_.end() && file->second.position >= planned.whole &&
         file->second.stage == StageAt(planned.whole);
}

Status Plan::Collect(const Stage& stage, uint64_t& position) {
  stage_starts_.push_back(position);
  NoteBrokenOff(stage, position);
  const Sizes too_large = FindTooLarge(stage, position);
  for (const Outline* outline : stage.Outlines()) {
    RETURN_IF_ERROR(Collect(*outline, position, stage, too_large));
    position += outline->record_count;
  }
  for (const auto& [object, size] : too_large) {
    ASSIGN_OR_RETURN(Object* const planned, Begin(object));
    planned->shortfall = Shortfall::kTooLarge;
    too_large_[object] = size;
  }
  return {};
}

Plan::Sizes Plan::FindTooLarge(const Stage& stage, uint64_t first) const {
  Sizes too_large;
  for (const Outline* outline : stage.Outlines()) {
    for (const Outline::Object& record : outline->objects) {
      if (IsVoid(record.object, first + record.index)) continue;
      if (record.kind == meta::Kind::kFile && record.size > largest_file_) {
        too_large[record.object] = record.size;
      } else if (!too_large.empty()) {
        too_large.erase(record.object);
      }
    }
    first += outline->record_count;
  }
  return too_large;
}

Result<Plan::Object*> Plan::Begin(ObjectId object) {
  const auto [planned, is_new] = objects_.try_emplace(object);
  if (is_new && some_are_short_) {
    ASSIGN_OR_RETURN(const auto row, catalog_.short_objects().Find(object));
    if (row && !row->by_name) planned->second.shortfall = Shortfall::kAsBefore;
  }
  return &planned->second;
}

Result<Plan::Object*> Plan::BeginUnlessIgnored(ObjectId object, bool whole,
                                               const Sizes& too_large) {
  if (too_large.contains(object)) return nullptr;
  ASSIGN_OR_RETURN(Object* const planned, Begin(object));
  return planned->shortfall == Shortfall::kNone || whole ? planned : nullptr;
}

Status Plan::Collect(const Outline& outline, uint64_t first, const Stage& stage,
                     const Sizes& too_large) {
  for (const Outline::Object& record : outline.objects) {
    if (IsVoid(record.object, first + record.index)) continue;
    ASSIGN_OR_RETURN(Object* const object,
                     BeginUnlessIgnored(record.object, record.whole, too_large));
    if (object == nullptr) continue;
    const uint64_t position = first + record.index;
    if (record.whole) {
      object->whole = position;
      object->shortfall = Shortfall::kNone;
    }
    if (record.kind == meta::Kind::kFile && !record.whole && object->last != 0) {
      later_sizes_[record.object].emplace_back(position, record.size);
    }
    object->last = std::max(object->last, position);
    object->kind = record.kind;
    object->has_record = true;
    if (record.with_content) object->last = object->last_data = position + 1;
  }
  for (const Outline::Data& record : outline.data) {
    if (IsVoid(record.object, first + record.index)) continue;
    ASSIGN_OR_RETURN(Object* const object, BeginUnlessIgnored(record.object, false, too_large));
    if (object == nullptr) continue;
    object->last = std::max(object->last, first + record.index);
    object->last_data = std::max(object->last_data, first + record.index);
  }
  for (const Outline::File& record : outline.files) {
    if (IsVoid(record.object, first + record.index)) continue;
    ASSIGN_OR_RETURN(Object* const object, BeginUnlessIgnored(record.object, false, too_large));
    if (object == nullptr) continue;
    staged_files_[record.object] = {&stage, InodeId{record.inode}, first + record.index};
  }
  for (const Outline::Entry& entry : outline.entries) entries_.Set(entry);
  return {};
}

// ---- Names -------------------------------------------------------------------------------------

const Plan::Object* Plan::Find(ObjectId object) const {
  const auto found = objects_.find(object);
  return found == objects_.end() ? nullptr : &found->second;
}

bool Plan::IsNew(ObjectId object) const {
  const Object* planned = Find(object);
  return planned != nullptr && planned->fate == Fate::kCreate;
}

void Plan::NoteMadeInPlace(ObjectId object) {
  const auto found = objects_.find(object);
  if (found != objects_.end()) found->second.made_in_place = true;
}

uint64_t Plan::SmallestSizeAfter(ObjectId object, uint64_t position) const {
  uint64_t smallest = std::numeric_limits<uint64_t>::max();
  const auto sizes = later_sizes_.find(object);
  if (sizes == later_sizes_.end()) return smallest;
  for (const auto& [at, size] : sizes->second) {
    if (at > position) smallest = std::min(smallest, size);
  }
  return smallest;
}

Result<std::optional<meta::Kind>> Plan::FinalKind(ObjectId object) {
  if (object == kRootObject) return meta::Kind::kDirectory;
  const Object* planned = Find(object);
  if (planned != nullptr && planned->whole != 0) return planned->kind;
  ASSIGN_OR_RETURN(const auto known, catalog_.FindKind(object));
  const bool too_large = planned != nullptr && planned->shortfall == Shortfall::kTooLarge;
  if (!known && too_large) return meta::Kind::kFile;  // an empty placeholder
  return known;
}

Result<std::vector<EntryKey>> Plan::ClaimedNames(ObjectId object) {
  std::vector<EntryKey> names;
  const auto [first, last] =
      std::equal_range(children_.begin(), children_.end(), NamedChild(object, nullptr), ByChild);
  for (auto it = first; it != last; ++it) names.push_back(*it->second);
  ASSIGN_OR_RETURN(const auto kind, FinalKind(object));
  // A directory has one name, and the stages' name is newer than the catalog's.
  if (!names.empty() && kind == meta::Kind::kDirectory) return names;
  ASSIGN_OR_RETURN(std::vector<EntryKey> before, catalog_.NamesOf(object));
  for (EntryKey& key : before) {
    if (!entries_.contains(key)) names.push_back(std::move(key));
  }
  return names;
}

Result<std::vector<EntryKey>> Plan::FinalNames(ObjectId object) {
  ASSIGN_OR_RETURN(std::vector<EntryKey> claimed, ClaimedNames(object));
  std::vector<EntryKey> names;
  for (EntryKey& key : claimed) {
    ASSIGN_OR_RETURN(const bool alive, IsDirectoryAlive(key.parent));
    if (alive) names.push_back(std::move(key));
  }
  return names;
}

Result<ObjectId> Plan::FinalChild(const EntryKey& key) {
  ObjectId child;
  if (const auto* entry = entries_.Find(key)) {
    child = entry->child;
  } else {
    ASSIGN_OR_RETURN(child, catalog_.ChildOf(key));
  }
  if (child.is_null()) return child;
  ASSIGN_OR_RETURN(const auto kind, FinalKind(child));
  if (kind == meta::Kind::kDirectory) {
    ASSIGN_OR_RETURN(const std::vector<EntryKey> names, FinalNames(child));
    return std::ranges::find(names, key) != names.end() ? child : ObjectId();
  }
  // Looks at no other name, because a file may have tens of thousands.
  ASSIGN_OR_RETURN(const bool alive, IsDirectoryAlive(key.parent));
  return alive ? child : ObjectId();
}

Result<bool> Plan::IsAlive(ObjectId object) {
  if (object == kRootObject) return true;
  if (const auto known = alive_.find(object); known != alive_.end()) return known->second;
  const Object* planned = Find(object);
  if (planned != nullptr && fates_decided_) return planned->fate != Fate::kDrop;
  ASSIGN_OR_RETURN(const std::vector<EntryKey> names, FinalNames(object));
  if (planned == nullptr) alive_.emplace(object, !names.empty());
  return !names.empty();
}

Result<Plan::Life> Plan::LifeOf(ObjectId directory) {
  if (directory == kRootObject) return Life::kAlive;
  if (const auto known = life_.find(directory); known != life_.end()) return known->second;
  ASSIGN_OR_RETURN(const auto kind, FinalKind(directory));
  return kind == meta::Kind::kDirectory ? Life::kUnknown : Life::kDead;
}

// Returns true if the root leads to the directory. Goes up the claimed names depth first, without
// recursion, because a tree may be deeper than the stack. Directories in a circle of claims do not
// keep each other alive. But one of them may be alive by another name, so a directory found dead
// while inside a circle is not remembered as dead.
Result<bool> Plan::IsDirectoryAlive(ObjectId directory) {
  struct Visit {
    ObjectId directory;
    std::vector<EntryKey> names;
    size_t next = 0;
    bool alive = false;
  };
  ASSIGN_OR_RETURN(Life life, LifeOf(directory));
  if (life != Life::kUnknown) return life == Life::kAlive;
  std::vector<Visit> path;
  size_t circle = std::numeric_limits<size_t>::max();  // the outermost visit in a circle
  ASSIGN_OR_RETURN(auto names, ClaimedNames(directory));
  path.push_back({directory, std::move(names)});
  life_[directory] = Life::kVisiting;
  while (true) {
    Visit& visit = path.back();
    if (visit.alive || visit.next == visit.names.size()) {
      const bool alive = visit.alive;
      if (alive || path.size() - 1 <= circle) {
        life_[visit.directory] = alive ? Life::kAlive : Life::kDead;
      } else {
        life_.erase(visit.directory);
      }
      if (path.size() - 1 <= circle) circle = std::numeric_limits<size_t>::max();
      path.pop_back();
      if (path.empty()) return alive;
      path.back().alive |= alive;
      continue;
    }
    const ObjectId parent = visit.names[visit.next++].parent;
    ASSIGN_OR_RETURN(life, LifeOf(parent));
    if (life == Life::kAlive) visit.alive = true;
    if (life == Life::kVisiting) {
      const auto same = [&](const Visit& other) { return other.directory == parent; };
      circle = std::min<size_t>(circle, std::ranges::find_if(path, same) - path.begin());
    }
    if (life == Life::kUnknown) {
      ASSIGN_OR_RETURN(names, ClaimedNames(parent));
      path.push_back({parent, std::move(names)});
      life_[parent] = Life::kVisiting;
    }
  }
}

// ---- Deciding ----------------------------------------------------------------------------------

Status Plan::ResolveEntries() {
  for (const auto& [key, child] : entries_) {
    if (child.is_null()) continue;
    ASSIGN_OR_RETURN(const auto kind, FinalKind(child));
    if (kind) continue;
    // Only if the directory exists in the end is the child missing. A directory may have come and
    // gone since the replica's cut, so that only its names were sent.
    ASSIGN_OR_RETURN(const bool alive, IsDirectoryAlive(key.parent));
    if (alive) missing_.push_back(child);
  }
  if (!missing_.empty()) return {};
  return DropUnreachable();
}

// Drops names in directories that do not exist in the end.
Status Plan::DropUnreachable() {
  std::unordered_set<const EntryKey*> dropped;
  std::vector<ObjectId> children;
  for (const auto& [key, child] : entries_) {
    ASSIGN_OR_RETURN(const bool alive, IsDirectoryAlive(key.parent));
    if (alive) continue;
    dropped.insert(&key);
    passing_names_.push_back(key);
    if (!child.is_null()) children.push_back(child);
  }
  std::erase_if(children_, [&](const auto& child) { return dropped.contains(child.second); });
  entries_.EraseIf([&](const auto& entry) { return dropped.contains(&entry.key); });
  life_.clear();
  alive_.clear();
  // A directory whose only new name was dropped would stay where it was. That happens only to a
  // directory put inside itself.
  for (const ObjectId child : children) {
    ASSIGN_OR_RETURN(const auto kind, FinalKind(child));
    if (kind != meta::Kind::kDirectory) continue;
    ASSIGN_OR_RETURN(const auto names, FinalNames(child));
    if (!names.empty() && !entries_.contains(names.front())) {
      return Contradiction("a directory inside itself", child);
    }
  }
  return {};
}

Status Plan::CheckDirectories() {
  for (const auto& [key, child] : entries_) {
    if (child.is_null()) continue;
    ASSIGN_OR_RETURN(const auto kind, FinalKind(child));
    if (kind != meta::Kind::kDirectory) continue;
    ASSIGN_OR_RETURN(const auto names, FinalNames(child));
    if (names.size() > 1) return Contradiction("a directory with two names", child);
  }
  return {};
}

Status Plan::DecideFates() {
  for (auto& [object, planned] : objects_) {
    ASSIGN_OR_RETURN(planned.fate, DecideFate(object, planned));
    if (planned.fate != Fate::kDrop && planned.last_data > planned.whole) {
      ASSIGN_OR_RETURN(const auto kind, FinalKind(object));
      if (kind != meta::Kind::kFile) return Contradiction("content of what is no file", object);
    }
    // In the other cases the staged file's content is copied to the object where it is, or no
    // longer needed.
    planned.in_file = planned.fate != Fate::kDrop && IsAllInAFile(object, planned);
    if (planned.in_file) files_.emplace(FileOf(object).inode.digest, object);
  }
  fates_decided_ = true;
  return {};
}

std::optional<ObjectId> Plan::FindFile(InodeId inode) const {
  const auto found = files_.find(inode.digest);
  if (found == files_.end()) return std::nullopt;
  return found->second;
}

Result<Plan::Fate> Plan::DecideFate(ObjectId object, const Object& planned) {
  if (object == kRootObject) return Fate::kKeep;
  ASSIGN_OR_RETURN(const auto known, catalog_.FindKind(object));
  const bool too_large = planned.shortfall == Shortfall::kTooLarge;
  if (!known && planned.whole == 0 && !too_large) return Fate::kDrop;
  ASSIGN_OR_RETURN(const bool alive, IsAlive(object));
  if (!alive) return Fate::kDrop;
  if (!known) return Fate::kCreate;
  if (planned.has_record && planned.kind != *known && planned.whole == 0) {
    return Contradiction("another kind", object);
  }
  if (planned.whole == 0) return Fate::kKeep;
  // An object without content is made anew as quickly as it is changed. An object with all its
  // content in a staged file is made anew too; a redo of some of the stages may already have moved
  // that file in, if the object was dead between two of them.
  const bool changeable = *known == meta::Kind::kFile || *known == meta::Kind::kDirectory;
  const bool stays = planned.kind == *known && changeable && !IsAllInAFile(object, planned);
  if (!stays) return Fate::kReplace;
  ASSIGN_OR_RETURN(const bool is_of_use, MayBeOfUse(object));
  return is_of_use ? Fate::kReplace : Fate::kKeep;
}

// What is truncated is made anew if its content may be kept (replica/apply/kept_bases.h).
Result<bool> Plan::MayBeOfUse(ObjectId object) {
  ASSIGN_OR_RETURN(const auto row, catalog_.Find(object));
  return row && row->attributes.kind == meta::Kind::kFile && row->attributes.link_count == 1 &&
         row->attributes.size >= KeptBases::kLeast;
}

Status Plan::FindDead() {
  for (const auto& [key, child] : entries_) {
    ASSIGN_OR_RETURN(const ObjectId before, catalog_.ChildOf(key));
    if (!before.is_null() && before != child) RETURN_IF_ERROR(Bury(before));
  }
  // A directory that becomes another kind of object loses its entries.
  for (const auto& [object, planned] : objects_) {
    if (planned.fate != Fate::kReplace) continue;
    ASSIGN_OR_RETURN(const auto entries, catalog_.EntriesOf(object));
    for (const CatalogEntry& entry : entries) RETURN_IF_ERROR(Bury(entry.child));
  }
  return {};
}

// Marks the object as dead if no name leads to it any more, and then checks everything that was in
// it.
Status Plan::Bury(ObjectId object) {
  std::vector<ObjectId> candidates = {object};
  while (!candidates.empty()) {
    const ObjectId candidate = candidates.back();
    candidates.pop_back();
    if (dead_.contains(candidate)) continue;
    ASSIGN_OR_RETURN(const bool alive, IsAlive(candidate));
    if (alive) continue;
    dead_.insert(candidate);
    ASSIGN_OR_RETURN(const auto kind, catalog_.FindKind(candidate));
    if (kind != meta::Kind::kDirectory) continue;
    ASSIGN_OR_RETURN(const auto entries, catalog_.EntriesOf(candidate));
    for (const CatalogEntry& entry : entries) candidates.push_back(entry.child);
  }
  return {};
}

}  // namespace tandem::replica
