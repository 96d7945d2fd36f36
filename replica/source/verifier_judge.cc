// How the verifier judges names and attributes.
#include <algorithm>

#include "replica/source/verifier.h"
#include "replica/source/verify_compare.h"

namespace tandem::replica {
namespace {

// Returns a name of at most kMaxNameBytes that is before `name`, with hardly any name in between.
std::string JustBefore(std::string name) {
  const char last = name.back();
  name.pop_back();
  if (last == '\1') return name;
  name.push_back(static_cast<char>(static_cast<unsigned char>(last) - 1));
  name.resize(kMaxNameBytes, '\xff');
  return name;
}

}  // namespace

Status Verifier::JudgeObject(Peer& peer, const Position& position, const Item& item) {
  Find ask;
  ask.objects = {item.object.id};
  ask.origin = Origin::kDisk;
  ask.with_xattrs = true;
  ASSIGN_OR_RETURN(const Found found, peer.AskFor<Found>(std::move(ask)));
  if (item.object.id == kRootObject) {
    tally_.SetTotals(found.total_objects, options_.full ? found.total_bytes : 0);
  }
  if (found.objects.size() != 1) {
    return MakeError(ErrorKind::kProtocol, "find: replica answered for another number of objects");
  }
  ASSIGN_OR_RETURN(std::optional<meta::SourceObject> object, tree_.Open(item.object));
  if (!object) return {};
  if (!found.objects[0].object.is_null()) {
    return JudgeListed(peer, position, item, *object, found.objects[0]);
  }
  if (!found.objects[0].unreadable.empty()) {
    Report(position, "unreadable", item.path, "on the replica: " + found.objects[0].unreadable);
    return {};
  }
  // Removed on both sides since it was met, but in use: it can still be opened by its handle.
  ASSIGN_OR_RETURN(const meta::Attributes ours, object->ReadAttributes(meta::WithXattrs::kNo));
  if (ours.link_count == 0) return {};
  ASSIGN_OR_RETURN(const bool pending,
                   Pending(position, item.object.id,
                           [](const meta::ObjectChange& change) { return change.whole; }));
  if (pending) {
    Postpone(item);
    return {};
  }
  ConfirmLater(item, Report(position, "name", item.path, "is missing on the replica"));
  if (options_.repair && !confirming_ && !item.name.empty()) {
    wrong_names_.push_back({item.parent, item.name});
  }
  return {};
}

Result<bool> Verifier::IsAsApplied(Peer& peer, const Item& item, const Listed& theirs) {
  if (item.tries < kTriesBeforeApplied) return false;
  Find ask;
  ask.objects = {item.object.id};
  ask.origin = Origin::kDatabase;
  ask.with_xattrs = true;
  ASSIGN_OR_RETURN(const Found found, peer.AskFor<Found>(std::move(ask)));
  if (found.objects.size() != 1 || found.objects[0].object != item.object.id) return false;
  const Listed& applied = found.objects[0];
  // kNewestEpoch: a set of no moment changed it, which may not have brought everything.
  return applied.changed > *applied_at_first_ && applied.changed < kNewestEpoch &&
         applied.attributes.kind == theirs.attributes.kind &&
         AttributeDifference(applied.attributes, theirs.attributes).empty() &&
         XattrDifferences(applied.attributes.xattrs, theirs.attributes.xattrs).empty();
}

Status Verifier::JudgeListed(Peer& peer, const Position& position, const Item& item,
                             meta::SourceObject& object, const Listed& theirs) {
  ASSIGN_OR_RETURN(const meta::Attributes ours, object.ReadAttributes(meta::WithXattrs::kYes));
  if (item.what == Item::What::kObject) tally_.AddObject();
  const bool same_kind = ours.kind == theirs.attributes.kind;
  bool postponed = false;
  std::vector<std::pair<const char*, std::string>> differences;
  if (!same_kind) {
    differences.emplace_back("kind",
                             Versus("is a", meta::NameOf(ours.kind),
                                    std::string("a ") + meta::NameOf(theirs.attributes.kind)));
  } else {
    std::string what = AttributeDifference(ours, theirs.attributes);
    if (!what.empty()) differences.emplace_back("attribute", std::move(what));
    for (std::string& one : XattrDifferences(ours.xattrs, theirs.attributes.xattrs)) {
      differences.emplace_back("xattr", std::move(one));
    }
  }
  if (!differences.empty()) {
    ASSIGN_OR_RETURN(const bool pending,
                     Pending(position, item.object.id,
                             [](const meta::ObjectChange& change) { return !change.empty(); }));
    // Links come and go with the entries of any directory; wait until nothing is pending anywhere.
    const bool links_pending = differences.front().second.starts_with("links") &&
                               tracker_.NewestChange() > position.applied.epoch;
    Item again = item;
    again.what = Item::What::kAttributes;
    postponed = pending || links_pending;
    if (postponed) {
      bool as_applied = false;
      if (pending && same_kind) {
        ASSIGN_OR_RETURN(as_applied, IsAsApplied(peer, item, theirs));
      }
      if (!as_applied) Postpone(std::move(again));
    } else {
      bool kept = false;
      for (auto& [kind, what] : differences) {
        kept |= Report(position, kind, item.path, std::move(what));
      }
      ConfirmLater(again, kept);
      if (options_.repair && !confirming_) wrong_objects_.push_back({item.object, !same_kind, {}});
    }
  }
  if (!same_kind) return {};
  const bool is_again = item.what == Item::What::kAttributes;
  Item next = item;
  next.tries = 0;
  if (ours.kind == meta::Kind::kDirectory) {
    next.what = Item::What::kNames;
    if (!is_again) survey_.Add(std::move(next));
    return {};
  }
  // A quick verify looks at content when it is known whether size and time differ.
  const bool compares_content =
      options_.full ? !is_again
                    : !postponed && !confirming_ && ContentMayDiffer(ours, theirs.attributes);
  if (ours.kind == meta::Kind::kFile && ours.size > 0 && compares_content &&
      (ours.link_count == 1 || survey_.IsFirstName(item.object.id))) {
    next.what = Item::What::kContent;
    survey_.Add(std::move(next));
  }
  return {};
}

Status Verifier::JudgeName(Peer& peer, const Position& position, const Item& item) {
  ASSIGN_OR_RETURN(const std::optional<meta::SourceObject> directory, tree_.Open(item.object));
  if (!directory) return {};
  ASSIGN_OR_RETURN(const meta::Attributes attributes,
                   directory->ReadAttributes(meta::WithXattrs::kNo));
  if (attributes.link_count == 0) return {};  // removed since it was met, but in use
  List ask;
  ask.directory = item.object.id;
  ask.origin = Origin::kDisk;
  ask.with_xattrs = true;
  ask.after = JustBefore(item.name);
  ask.up_to = item.name;
  size_t listed = 0;
  const Listed* theirs = nullptr;
  std::optional<Listing> page;
  do {
    ASSIGN_OR_RETURN(page, peer.ListPage(ask, listed));
    // The directory is not there: neither is the name.
    if (!page || page->entries.empty()) break;
    const auto found = std::ranges::find(page->entries, item.name, &Listed::name);
    if (found != page->entries.end()) theirs = &*found;
    ask.after = page->entries.back().name;
  } while (theirs == nullptr && page->more && ask.after < item.name);

  ASSIGN_OR_RETURN(std::optional<meta::ObjectRef> ours, tree_.LookupIn(item.object, item.name));
  if (!ours && theirs == nullptr) return {};
  const std::string path = item.PathOf(item.name);
  if (theirs != nullptr && !theirs->unreadable.empty()) {
    const bool kept =
        Report(position, "name", path, "cannot be read on the replica: " + theirs->unreadable);
    ConfirmLater(item, kept);
    if (options_.repair && !confirming_) wrong_names_.push_back({item.object, item.name});
    return {};
  }
  if (ours && theirs != nullptr && ours->id == theirs->object) {
    const Item child{Item::What::kObject, *ours, path, item.object, item.name};
    tree_.NoteNameIfForgotten(ours->id, item.object.id, item.name);
    ASSIGN_OR_RETURN(std::optional<meta::SourceObject> object, tree_.Open(*ours));
    return object ? JudgeListed(peer, position, child, *object, *theirs) : Status();
  }
  ASSIGN_OR_RETURN(const bool pending,
                   Pending(position, item.object.id, [&item](const meta::ObjectChange& change) {
                     return change.listing || change.entries.contains(item.name);
                   }));
  const bool has_other_id = ours && theirs != nullptr && !theirs->object.is_null();
  const bool renews = !pending && has_other_id && tree_.ids_may_change() && item.tries == 0;
  if (renews) RETURN_IF_ERROR(RenewIdentity(item, {item.name, *ours}, theirs->object));
  if (pending || renews) {
    Postpone(item);
    return {};
  }
  bool kept = false;
  if (theirs == nullptr) {
    kept = Report(position, "name", path, "is missing on the replica");
  } else if (!ours) {
    kept = Report(position, "name", path, "is only on the replica");
  } else {
    kept = Report(position, "link", path, "leads to another object on the replica");
  }
  ConfirmLater(item, kept);
  if (options_.repair && !confirming_) wrong_names_.push_back({item.object, item.name});
  return {};
}

}  // namespace tandem::replica
