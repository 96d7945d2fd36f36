// How the verifier repairs: it marks what differs as changed, so that the next cut carries it.
#include "replica/source/verifier.h"

namespace tandem::replica {

Status Verifier::RepairAll() {
  while (!wrong_objects_.empty() && !stopping_) {
    RETURN_IF_ERROR(RepairObject(wrong_objects_.front().object, wrong_objects_.front().whole));
    wrong_objects_.pop_front();
  }
  while (!wrong_names_.empty() && !stopping_) {
    Repair repair = std::move(wrong_names_.front());
    wrong_names_.pop_front();
    RETURN_IF_ERROR(RepairName(std::move(repair)));
  }
  return {};
}

Status Verifier::RepairObject(const meta::ObjectRef& object, bool whole) {
  ASSIGN_OR_RETURN(
      meta::Operation operation,
      tracker_.Begin(meta::Intent().Data(object, ByteRange::Whole()).Attributes(object)));
  if (whole) {
    operation.ChangedWholly(object);
  } else {
    operation.Wrote(object, ByteRange::Whole());
    operation.ChangedAttributes(object, meta::kAllAttributes);
  }
  return {};
}

Status Verifier::RepairName(Repair repair) {
  std::deque<Repair> left;
  left.push_back(std::move(repair));
  while (!left.empty() && !stopping_) {
    const Repair one = std::move(left.front());
    left.pop_front();
    ASSIGN_OR_RETURN(const std::optional<meta::ObjectRef> child, RepairEntry(one));
    if (!child) continue;
    ASSIGN_OR_RETURN(const std::optional<meta::SourceObject> object, tree_.Open(*child));
    if (!object) continue;
    ASSIGN_OR_RETURN(const meta::Attributes attributes,
                     object->ReadAttributes(meta::WithXattrs::kNo));
    if (attributes.kind != meta::Kind::kDirectory) continue;
    ASSIGN_OR_RETURN(meta::SourceListing below, tree_.List(*object));
    for (meta::SourceEntry& entry : below.entries) left.push_back({*child, std::move(entry.name)});
  }
  return {};
}

Result<std::optional<meta::ObjectRef>> Verifier::RepairEntry(const Repair& repair) {
  // Before the gate: the object may have to be searched for.
  ASSIGN_OR_RETURN(const std::optional<UniqueFd> opened, tree_.OpenPath(repair.directory));
  if (!opened) return std::nullopt;
  ASSIGN_OR_RETURN(meta::Operation operation,
                   tracker_.Begin(meta::Intent().Entries(repair.directory)));
  ASSIGN_OR_RETURN(std::optional<meta::ObjectRef> child,
                   tree_.Lookup(opened->get(), repair.name.c_str()));
  operation.SetEntry(repair.directory, repair.name, child ? child->id : ObjectId(), ObjectId());
  operation.End();
  if (child) RETURN_IF_ERROR(RepairObject(*child, /*whole=*/true));
  return child;
}

Status Verifier::RenewIdentity(const Item& directory, const meta::SourceEntry& ours,
                               ObjectId theirs) {
  ASSIGN_OR_RETURN(const std::optional<meta::SourceObject> object, tree_.Open(ours.object));
  if (!object) return {};
  ASSIGN_OR_RETURN(const meta::Attributes attributes,
                   object->ReadAttributes(meta::WithXattrs::kNo));
  const bool is_directory = attributes.kind == meta::Kind::kDirectory;
  {
    ASSIGN_OR_RETURN(meta::Operation operation,
                     tracker_.Begin(meta::Intent().Entries(directory.object)));
    operation.SetEntry(directory.object, ours.name, ours.object.id, theirs);
  }
  meta::Intent intent;
  intent.Data(ours.object, ByteRange::Whole()).Attributes(ours.object);
  if (is_directory) intent.Entries(ours.object);
  ASSIGN_OR_RETURN(meta::Operation operation, tracker_.Begin(intent));
  operation.ChangedWholly(ours.object);
  if (is_directory) operation.ChangedNames(ours.object);
  return {};
}

}  // namespace tandem::replica
